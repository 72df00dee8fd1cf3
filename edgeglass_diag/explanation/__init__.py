"""Root causes by intervention: short replays that differ in one thing, and the smallest change that cures."""
