"""Lines of a file in one revision, found again in a later one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeglass_diag.replaying.revisions.patches import Change, FileDifference, Kind, patch_of, span, unquoted

_QUOTED = re.compile(r'[\x00-\x1f"\\\x7f]')


@dataclass(frozen=True)
class Hunk:
    """A change with its place in the user's present files.

    Attributes:
        change: what is changed.
        path: of the file, at present; in the guilty revision if it is gone.
        lines: first and last line, at present; in the guilty revision if none of them is left; None for a change of
            the whole file.
        revision: hash of the guilty commit if ``lines`` or ``path`` are those in it, else empty.
    """

    change: Change
    path: str
    lines: tuple[int, int] | None
    revision: str = ""

    @property
    def name(self) -> str:
        """Return the name that an answer gives it: ``perceiver.py:126-127``."""
        where = f" at {self.revision[:10]}" if self.revision else ""
        if self.lines is not None:
            return f"{self.path}:{span(*self.lines)}{where}"
        before = f", before {self.change.before}" if self.change.kind is Kind.RENAMED else ""
        return f"{self.path} ({self.change.kind}{before}){where}"


def locate(changes: Sequence[Change], later: Sequence[FileDifference], revision: str) -> dict[str, Hunk]:
    """Return changes with their present places, by their keys.

    Args:
        changes: of the guilty revision.
        later: the difference between it and the present.
        revision: its hash.
    """
    differences = {unquoted(file.old): file for file in later if not _is_new(file)}
    return {change.key: _located(change, differences, revision) for change in changes}


def _located(change: Change, later: Mapping[str, FileDifference], revision: str) -> Hunk:
    has_lines = change.kind is Kind.LINES or (change.kind is Kind.NEW and bool(change.text) and change.new[1] > 0)
    file = later.get(change.path)
    if file is None:
        return Hunk(change, change.path, change.lines if has_lines else None)
    kinds = {each.kind for each in file.changes}
    if Kind.DELETED in kinds:
        return Hunk(change, change.path, change.lines if has_lines else None, revision)
    path = next((each.path for each in file.changes), change.path)
    if not has_lines:
        return Hunk(change, path, None)
    first, last = change.lines
    left = [now for line in range(first, last + 1) if (now := present_line(line, file.changes)) is not None]
    if not left:
        return Hunk(change, change.path, change.lines, revision)
    return Hunk(change, path, (min(left), max(left)))


def taken_back(hunks: Sequence[Hunk], later: Sequence[FileDifference]) -> str | None:
    """Return a patch that takes changes back in the present files; None if one of their lines is no longer there.

    Args:
        hunks: with their present places.
        later: the difference between the guilty revision and the present.
    """
    differences = {unquoted(file.old): file.changes for file in later}
    reverse: dict[str, list[Change]] = {}
    for hunk in hunks:
        change = _reversed(hunk, differences.get(hunk.change.path, []))
        if change is None:
            return None
        reverse.setdefault(hunk.path, []).append(change)
    files = [FileDifference([], path, sorted(made, key=lambda each: each.old)) for path, made in reverse.items()]
    return patch_of(files, {change.key for made in reverse.values() for change in made})


def _reversed(hunk: Hunk, later: Sequence[Change]) -> Change | None:
    """Return the change that takes one back at its present place; None for whole files, and names that git quotes."""
    first, count = hunk.change.new
    if hunk.change.kind is not Kind.LINES or hunk.revision or _QUOTED.search(hunk.path):
        return None
    lines = [present_line(line, later) for line in range(first, first + max(1, count))] if first else [0]
    start = lines[0]
    if start is None or lines != list(range(start, start + len(lines))):
        return None
    added: list[str] = []
    removed: list[str] = []
    for line in hunk.change.text.split("\n")[:-1]:
        if line[0] != "\\":  # else it says that the line before has no end
            into, side = (removed, "-") if line[0] == "+" else (added, "+")
            line = side + line[1:]
        into.append(line + "\n")
    return Change(Kind.LINES, hunk.path, (start, count), (start, hunk.change.old[1]), "".join(removed + added))


def present_line(line: int, changes: Sequence[Change]) -> int | None:
    """Return where a line is after changes of its file; None if one of them replaced or deleted it.

    Args:
        line: from 1.
        changes: in the order of their lines.
    """
    moved = line
    for change in changes:
        (first, count), (_, added) = change.old, change.new
        if change.kind is not Kind.LINES or first > line or (count == 0 and first == line):
            continue
        if count and line < first + count:
            return None
        moved += added - count
    return moved


def _is_new(file: FileDifference) -> bool:
    return any(change.kind is Kind.NEW for change in file.changes)
