"""What a recorded run has left in its working directory: a replay begins without it, as the run did. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgeglass_diag.folders import read_header
from edgeglass_diag.user_input.files import is_file

Span = tuple[float, float]
"""The times in which a run began and ended, in seconds since the epoch."""

_LATER = 2.0
"""Seconds after a run's end in which its process still closes files."""

_MOST_ENTRIES = 20_000
"""Entries of the working directory that are looked at."""

_SOURCE = (".py", ".pyi")
"""Endings of files that no training makes, and that are edited while one runs."""


def span_of(run: Path) -> Span:
    """Return when a recorded run began and ended; one that was killed ended when its record was last written."""
    header = read_header(run)
    written = max((entry.stat().st_mtime for entry in os.scandir(run)), default=0.0)
    return float(header["created"]), float(header.get("ended") or written)


def left_by(spans: Sequence[Span], folder: str) -> tuple[str, ...]:
    """Return the entries of a folder that were written while one of the runs went on, and at no other time.

    A folder is one if all that is in it is; then what is in it is not returned. Passed over are hidden folders, links,
    compiled Python and records of this package; at most some 20,000 entries are looked at.

    Args:
        spans: of the runs.
        folder: their working directory, absolute.
    """
    return tuple(_Walk(spans).entries(folder)[1]) if spans else ()


class _Walk:
    """A look through a tree of files."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._left = _MOST_ENTRIES

    def entries(self, folder: str) -> tuple[bool, list[str]]:
        """Return whether all in a folder is left by a run, and which of it is."""
        is_all, found = True, []
        try:
            listed = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return False, []
        self._left -= len(listed)
        if self._left < 0:
            return False, []
        for entry in listed:
            is_left, inside = self._entry(entry)
            is_all = is_all and is_left
            found += [entry.path] if is_left else inside
        return is_all, found

    def _entry(self, entry: os.DirEntry[str]) -> tuple[bool, list[str]]:
        if entry.is_symlink():
            return False, []
        if not entry.is_dir():
            return self._is_in_a_span(entry) and not entry.name.endswith(_SOURCE), []
        if entry.name.startswith((".", "__pycache__")) or is_file(Path(entry.path) / "run.json"):
            return False, []
        is_all, inside = self.entries(entry.path)
        return is_all and self._is_in_a_span(entry), inside

    def _is_in_a_span(self, entry: os.DirEntry[str]) -> bool:
        try:
            written = entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            return False
        return any(begin <= written <= end + _LATER for begin, end in self._spans)
