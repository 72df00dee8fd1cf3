"""CSV: ``signals.csv`` and ``findings.csv`` in a folder; ``nan``, ``inf`` and ``-inf`` stand as such."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from edgeglass_diag.records import Finding, Reading, RunStatus
from edgeglass_diag.sinks.rows import FINDINGS, SIGNALS, finding_row, signal_rows
from edgeglass_diag.sinks.sink import About, Sink


class Into(Sink):
    """Writes both tables.

    Args:
        about: the run.
        out: folder, made if there is none.
    """

    def __init__(self, about: About, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.place = str(out)
        self._signals = (out / "signals.csv").open("w", newline="", encoding="utf-8")
        self._findings = (out / "findings.csv").open("w", newline="", encoding="utf-8")
        self._numbers = csv.writer(self._signals)
        self._numbers.writerow(SIGNALS)
        self._texts = csv.DictWriter(self._findings, FINDINGS)
        self._texts.writeheader()

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Write the rows."""
        self._numbers.writerows(signal_rows(step, readings))

    def finding(self, finding: Finding) -> None:
        """Write its row."""
        self._texts.writerow(finding_row(finding))

    def close(self, status: RunStatus) -> None:
        """Close both files."""
        self._signals.close()
        self._findings.close()
