"""The explanation that belongs to a run: the one that explains it, or the one whose replay it is."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgeglass_dashboards.runs import is_below, reading
from edgeglass_diag.explained.record import (
    EXPLANATION,
    KeptExplanation,
    KeptTrial,
    is_explanation,
    read_explanation,
    trial_folder,
)
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import Run
from edgeglass_diag.user_input.files import is_folder


@dataclass(frozen=True, slots=True)
class Shown:
    """An explanation and its folder; ``problem`` says why there is nothing to show, empty where nothing is kept."""

    root: Path
    folder: Path | None = None
    explanation: KeptExplanation | None = None
    problem: str = ""

    @property
    def state(self) -> tuple[int, int]:
        """What changes when the explanation is written anew."""
        if self.folder is None:
            return 0, 0
        found = (self.folder / EXPLANATION).stat()
        return found.st_mtime_ns, found.st_size

    def path(self, trial: KeptTrial) -> str | None:
        """The path of a replay's run below the runs folder, None where it does not lie there."""
        place = None if self.folder is None else trial_folder(self.folder, trial.out)
        return None if place is None else place.relative_to(self.root).as_posix()

    def open(self, place: Path) -> AbstractContextManager[Run]:
        """Open the run of a replay, as long as it lies below the runs folder."""
        return reading(self.root, place.relative_to(self.root).as_posix())


def explanation_of(run: Run, root: Path, chosen: str = "") -> Shown:
    """Return the explanation of a run that lies below ``root``; nothing is read elsewhere.

    Args:
        run: explained, or a replay of an explanation.
        root: the folder of all runs.
        chosen: one of ``explanations_of``; the newest where it is none of them.
    """
    bound = root.resolve()
    kept = run.explained
    found = explanations_of(run, root).get(chosen) if chosen else None
    folder = found or kept.folder or _around(run.folder.resolve(), bound)
    if folder is None:
        return Shown(bound, problem=kept.fault)
    if not _is_inside(folder, bound):
        return Shown(bound, problem=f"The explanation of this run is not in the folder of this dashboard: {folder}")
    try:
        return Shown(bound, folder, read_explanation(folder))
    except UsageError as error:
        return Shown(bound, problem=str(error).replace(f"{bound}{os.sep}", ""))


def explanations_of(run: Run, root: Path) -> dict[str, Path]:
    """Return all explanations of a run below ``root``, the newest first, by their paths from the run's folder.

    They lie in its folder, beside it or beside the newest. A replay has none of its own.
    """
    bound, newest, place = root.resolve(), run.explained.folder, run.folder.resolve()
    if newest is None:
        return {}
    found = []
    for around in dict.fromkeys((place, place.parent, newest.parent)):
        with suppress(OSError):
            found += [
                (file.stat().st_mtime_ns, file.parent)
                for file in around.glob(f"*/{EXPLANATION}")
                if _is_inside(file.parent, bound)
                and (around == place or _explains(file, file.stat().st_mtime_ns, place))
            ]
    folders = dict.fromkeys([newest, *(folder for _, folder in sorted(found, reverse=True))])
    return {Path(os.path.relpath(folder, place)).as_posix(): folder for folder in folders}


def _is_inside(folder: Path, bound: Path) -> bool:
    return folder.is_relative_to(bound) and is_below(bound, folder.relative_to(bound).as_posix())


@lru_cache(maxsize=512)
def _explains(file: Path, written: int, run: Path) -> bool:
    """Whether an explanation, as it was at a time, is one of a run; of a run that has moved its folder's name tells."""
    try:
        noted = read_explanation(file.parent).run
    except UsageError:
        return False
    if noted is None:
        return False
    told = Path(noted)
    return told.resolve() == run if told.is_absolute() and is_folder(told) else told.name == run.name


def _around(run: Path, bound: Path) -> Path | None:
    """The innermost folder around a run that is an explanation's."""
    places = [place for place in (run, *run.parents) if place.is_relative_to(bound)]
    return next((place for place in places if is_explanation(place)), None)
