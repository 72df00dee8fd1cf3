"""trackio: metrics, histograms and alerts in its local database; no server is started, and nothing is printed.

``trackio.init`` prints on the program's stdout, and so do its alerts; its storage, which they write to, does not.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeglass_diag.records import Finding, Reading, Severity, UsageError
from edgeglass_diag.sinks.sink import PROJECT, About, Sink, counted, histograms, scalars, text_of, title_of

_LEVELS = {Severity.INFO: "info", Severity.WARNING: "warn", Severity.CRITICAL: "error"}


class Into(Sink):
    """Writes a run into a project of trackio, where ``TRACKIO_DIR`` says.

    Args:
        about: the run.
        out: folder in place of that; None for trackio's own.

    Raises:
        UsageError: where trackio was imported for another folder already.
    """

    def __init__(self, about: About, out: Path | None) -> None:
        if out is not None and "trackio" not in sys.modules:
            os.environ["TRACKIO_DIR"] = str(out.absolute())
        from trackio.utils import TRACKIO_DIR

        if out is not None and out.absolute() != Path(TRACKIO_DIR):
            raise UsageError(f"trackio: expected to be its first use in this process, got one into {TRACKIO_DIR}")
        self._project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._about, self._id = about, uuid.uuid4().hex
        self.place = f"{TRACKIO_DIR} (trackio show --project {self._project})"

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Log all of a window."""
        from trackio import Histogram
        from trackio.sqlite_storage import SQLiteStorage

        taken = list(readings)
        row: dict[str, Any] = dict(scalars(taken))
        row |= {name: Histogram(np_histogram=counted(values))._to_dict() for name, values in histograms(taken).items()}
        SQLiteStorage.bulk_log(
            self._project,
            self._about.name,
            [row],
            steps=[step],
            config={"edgeglass_diag": str(self._about.folder)},
            run_id=self._id,
        )

    def finding(self, finding: Finding) -> None:
        """Keep an alert."""
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.bulk_alert(
            self._project,
            self._about.name,
            [title_of(finding)],
            [text_of(finding)],
            [_LEVELS[finding.severity]],
            [finding.step],
            run_id=self._id,
        )
