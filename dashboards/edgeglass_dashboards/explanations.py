"""The explanation that belongs to a run: the one that explains it, or the one whose replay it is."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
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


def explanation_of(run: Run, root: Path) -> Shown:
    """Return the explanation of a run that lies below ``root``; nothing is read elsewhere.

    Args:
        run: explained, or a replay of an explanation.
        root: the folder of all runs.
    """
    bound = root.resolve()
    kept = run.explained
    folder = kept.folder if kept.folder is not None else _around(run.folder.resolve(), bound)
    if folder is None:
        return Shown(bound, problem=kept.fault)
    if not folder.is_relative_to(bound) or not is_below(bound, folder.relative_to(bound).as_posix()):
        return Shown(bound, problem=f"The explanation of this run is not in the folder of this dashboard: {folder}")
    try:
        return Shown(bound, folder, read_explanation(folder))
    except UsageError as error:
        return Shown(bound, problem=str(error).replace(f"{bound}{os.sep}", ""))


def _around(run: Path, bound: Path) -> Path | None:
    """The innermost folder around a run that is an explanation's."""
    places = [place for place in (run, *run.parents) if place.is_relative_to(bound)]
    return next((place for place in places if is_explanation(place)), None)
