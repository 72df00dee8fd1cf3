"""The error of wrong use."""

from __future__ import annotations


class UsageError(ValueError):
    """Wrong use or unreadable input: one line that names what was expected, what came, and where."""
