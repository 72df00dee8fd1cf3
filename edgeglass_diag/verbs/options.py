"""What the user chose for a run, and the folder that it goes to. No torch: a program decides itself when to load it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeglass_diag.profiling.options import ProfileOptions
from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import Rule


@dataclass(frozen=True)
class Options:
    """What the user chose for all jobs."""

    every: int
    rules: Sequence[Rule]
    stop_on: tuple[str, ...] = ()
    profile: ProfileOptions | None = None


def default_folder(name: str, root: Path) -> Path:
    """A new folder below ``root``, named after what runs and the time."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(f"{stem}-{count}" for count in range(2, 100))]
    return next(folder for name in names if not (folder := root / name).exists())


def check_folder(folder: Path) -> None:
    """Make sure that a run can be written to a folder, without making it.

    Raises:
        UsageError: when it exists and is not empty, or cannot be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty: a run needs a new folder, and nothing is overwritten")
    standing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise UsageError(f"cannot write a run to {folder}: {standing} is not a folder that can be written")
