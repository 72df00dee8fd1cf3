"""The search over revisions of a program in a git repository: which commit made it ill, and which lines of it."""
