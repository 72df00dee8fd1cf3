"""Find run folders and the ranks inside of them, and choose and check folders for new runs. No torch, no database."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_file, is_folder

FORMAT = "edgeglass-diag run"
VERSION = 3
"""What is written. Still read: version 1, with a row for each reading, and 2, with sites and findings in words."""

READABLE = (1, 2, VERSION)
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
        UsageError: when there is none, or it is not of this format and version.
    """
    file = folder / "run.json"
    if not exists(folder):
        raise UsageError(f"no such run: {folder} does not exist")
    if not is_file(file):
        raise UsageError(f"not a run: {folder} has no run.json (expected a folder written by 'edgeglass-diag run')")
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"not a run: {file} cannot be read as JSON ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UsageError(f"not a run: {file} is not of the format {FORMAT!r}")
    if header.get("version") not in READABLE:
        versions = ", ".join(map(str, READABLE))
        raise UsageError(f"{file} has version {header.get('version')}; this edgeglass-diag reads versions {versions}")
    return header


def is_run(folder: Path) -> bool:
    """Return whether the folder is a run of this format and version."""
    try:
        read_header(folder)
    except UsageError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def default_folder(name: str, root: Path) -> Path:
    """Return a folder below ``root`` that does not exist yet, named after what runs and the time."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(f"{stem}-{count}" for count in range(2, 100))]
    return next(folder for name in names if not (folder := root / name).exists())


def check_folder(folder: Path) -> None:
    """Check that a run can be written to a folder, without making it.

    Raises:
        UsageError: if it exists and is not empty, or cannot be made.
    """
    if exists(folder) and (not is_folder(folder) or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty: a run needs a new folder, and nothing is overwritten")
    standing = next(place for place in (folder, *folder.absolute().parents) if exists(place))
    if not is_folder(standing) or not os.access(standing, os.W_OK):
        raise UsageError(f"cannot write a run to {folder}: {standing} is not a folder that can be written")
