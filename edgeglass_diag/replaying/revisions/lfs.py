"""Files that Git LFS keeps apart: git holds a pointer of three lines, the user's machine perhaps the content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeglass_diag.replaying.revisions.git import RevisionError

_MOST = 1024
"""Bytes of a pointer. Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md ("less than 1024 bytes")."""

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")


def pointer(file: Path) -> str | None:
    """Return the hash of the content to which a file points; None if it is no pointer."""
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size >= _MOST:
            return None
        found = _POINTER.match(file.read_bytes())
    except OSError:
        return None
    return None if found is None else found[1].decode()


def holds(file: Path, oid: str) -> bool:
    """Return whether a file is the content of this hash, or a pointer to it."""
    if not file.is_file():
        return False
    if pointer(file) == oid:
        return True
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == oid


def fill_pointers(place: Path, tree: Path, stores: Sequence[Path]) -> None:
    """Replace pointers by links to their content; one whose content the user's tree has not either stays.

    Args:
        place: what was checked out.
        tree: the user's files.
        stores: folders ``lfs/objects``.

    Raises:
        RevisionError: if a pointer's content is not on this machine, and the user's tree has no such pointer.
    """
    for file in _files(place):
        oid = pointer(file)
        if oid is None:
            continue
        present = tree / file.relative_to(place)
        kept = next((kept for store in stores if (kept := store / oid[:2] / oid[2:4] / oid).is_file()), None)
        if kept is None and holds(present, oid):
            kept = present
        if kept is None:
            name = file.relative_to(place)
            raise RevisionError(f"{name}: Git LFS keeps it and its content is not here; git lfs fetch --all brings it")
        file.unlink()
        file.symlink_to(kept)


def _files(place: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names)
