"""Root causes by intervention: short replays that differ in one change, and the smallest change that cures."""
