"""Find run folders and the ranks inside of them, and choose and check folders for new runs. No torch, no database."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_file, is_folder

FORMAT = "edgeglass-diag run"
VERSION = 4
"""What is written. Still read: version 1, with a row for each reading, 2, with sites and findings in words, and 3,
without checksums and ``state.json``."""

READABLE = (1, 2, 3, VERSION)
_MARKS = frozenset({"run.json", "signals.sqlite"})
_RANK = re.compile(r"rank-(\d+)")


def find_runs(folder: Path) -> list[Path]:
    """Run directories in ``folder``: itself, its children and grandchildren, oldest first.

    A run within a run is a rank of it and none of its own; it is listed where ``folder`` is the rank itself.
    """
    if not is_folder(folder):
        return []
    found: dict[Path, tuple[float, str]] = {}
    for place in (file.parent for depth in ("", "*/", "*/*/") for file in folder.glob(f"{depth}run.json")):
        try:
            found[place] = read_header(place).get("created", 0.0), place.name
        except UsageError:
            continue
    return sorted((place for place in found if place.parent not in found), key=lambda place: found[place])


def find_unreadable(folder: Path, runs: Collection[Path]) -> dict[Path, str]:
    """Return what looks like a run in ``folder``, as deep as ``find_runs`` looks, and why each cannot be read.

    A folder with a ``run.json`` or a store looks like one, and one that cannot be opened may be one. What lies inside
    of a run belongs to it.

    Args:
        folder: itself, its children and grandchildren.
        runs: those that ``find_runs`` has found, which can be read.
    """
    found: dict[Path, str] = {}
    below = [folder] if is_folder(folder) else []
    for depth in range(3):
        places, below = below, []
        for place in places:
            try:
                entries = list(os.scandir(place))
            except OSError as error:
                found[place] = f"{place} cannot be opened ({error.strerror})"
                continue
            if not _MARKS.isdisjoint(entry.name for entry in entries):
                if place not in runs:
                    found[place] = _fault(place)
            elif depth < 2:
                below += [Path(entry.path) for entry in entries if _is_folder(entry)]
    return found


def _fault(place: Path) -> str:
    try:
        read_header(place)
    except UsageError as error:
        return str(error)
    return f"{place} has changed while it was read"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def rank_folders(folder: Path) -> dict[int, Path]:
    """Return the ranks whose records lie inside of a run, in rising order.

    A process that belongs to no group of ranks stands under its process id. Links that lead out of the run are left
    out.
    """
    root = folder.resolve()
    stores = [file.parent for file in folder.glob("rank-*/signals.sqlite") if file.resolve().is_relative_to(root)]
    places = {int(match[1]): p for p in stores if (match := _RANK.fullmatch(p.name)) and is_run(p)}
    return dict(sorted(places.items()))


def read_header(folder: Path) -> dict[str, Any]:
    """Return the content of ``run.json``.

    Raises:
        UsageError: when there is none, it is not of this format and version, or a fact in it has another type.
    """
    file = folder / "run.json"
    if not exists(folder):
        raise UsageError(f"no such run: {folder} does not exist")
    if not is_file(file):
        raise UsageError(f"not a run: {folder} has no run.json (expected a folder written by 'edgeglass-diag run')")
    from edgeglass_diag.run_header import parse_header  # pydantic is not needed where a run is only written

    return parse_header(file, format_=FORMAT, readable=READABLE)


def is_run(folder: Path) -> bool:
    """Return whether the folder is a run of this format and version."""
    try:
        read_header(folder)
    except UsageError:
        return False
    return True


def fixed(folder: Path) -> Path:
    """Return a folder's own path, which neither another working directory nor another target of a link changes.

    Raises:
        UsageError: if it is relative and the working directory is gone, or its links go in circles.
    """
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"cannot write a run to {folder}: {error}") from error


def default_folder(name: str, root: Path) -> Path:
    """Return a folder below ``root`` that does not exist yet, named after what runs and the time."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(f"{stem}-{count}" for count in range(2, 100))]
    return next(folder for name in names if not (folder := root / name).exists())


def check_folder(folder: Path, *, resume: bool = False) -> None:
    """Check that a run can be written to a folder, without making it.

    Args:
        folder: of the run.
        resume: whether a run that is there goes on.

    Raises:
        UsageError: if it exists and is not empty, unless it has a run that goes on, or cannot be made.
    """
    if exists(folder) and (not is_folder(folder) or any(folder.iterdir())):
        if resume:
            read_header(folder)
            return
        raise UsageError(f"{folder} exists and is not empty: a run needs a new folder, and nothing is overwritten")
    standing = next(place for place in (folder, *folder.absolute().parents) if exists(place))
    if not is_folder(standing) or not os.access(standing, os.W_OK):
        raise UsageError(f"cannot write a run to {folder}: {standing} is not a folder that can be written")
