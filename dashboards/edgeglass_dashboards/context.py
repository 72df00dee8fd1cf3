"""What a page is drawn from: the run or the runs, the view of the address, and what is new since the last time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_dashboards.cursor import Recent
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.view import View
from edgeglass_diag.records import Reading
from edgeglass_diag.store import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a page may look at.

    ``opened`` is None on pages about all runs. ``fresh`` and ``recent`` are the new and the last readings of the
    page's own signals; ``hold`` leaves figures as they are, except where the view asks for another. ``waits`` names
    what was asked for and is still being made: a page that shows so has to ask again, also where it is there by now.
    """

    index: RunIndex
    view: View
    scheme: str = "light"
    opened: Run | None = None
    fresh: dict[str, list[Reading]] = field(default_factory=dict)
    recent: Recent = field(default_factory=dict)
    hold: bool = False
    waits: set[str] = field(default_factory=set)

    def of(self, run: Run) -> Context:
        """The same about a run."""
        return replace(self, opened=run)

    @property
    def run(self) -> Run:
        """The run that is shown."""
        assert self.opened is not None, "this page is about all runs"
        return self.opened

    @property
    def path(self) -> str:
        """Where the run that is shown lies below the folder of all runs."""
        return self.run.folder.resolve().relative_to(self.root.resolve()).as_posix()

    @property
    def root(self) -> Path:
        """The folder of all runs."""
        return self.index.root


def frame_of(readings: Iterable[Reading]) -> pd.DataFrame:
    """Readings as a frame with columns step and value."""
    import pandas as pd  # takes as long as all the rest of the start

    rows = [(reading.step, value) for reading in readings for value in reading.values]
    return pd.DataFrame(rows, columns=["step", "value"])
