"""The view of a training that goes on, drawn in a cell of a notebook and replaced in place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from edgeglass_diag.notebooks.document import Document, Headline, Table
from edgeglass_diag.notebooks.kernel import Place, in_kernel
from edgeglass_diag.notebooks.of_findings import findings_document
from edgeglass_diag.process import say
from edgeglass_diag.records import Finding, RunStatus, Window
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.verdict import ABOUT_THE_RECORD
from edgeglass_diag.verdict import say as value_text

PAUSE = 0.25
"""Seconds between two pictures; a window that comes earlier is in the next one."""

_SPAN = 40
"""Pictures over which the steps per second are a mean: ten seconds and more."""

_TONES = {
    RunStatus.RUNNING: "info",
    RunStatus.FINISHED: "good",
    RunStatus.STOPPED: "warning",
    RunStatus.FAILED: "critical",
}


class LiveView:
    """Draws state, step, loss, steps per second and findings, in the thread that writes the record.

    No call of it raises. Where it cannot draw any more, findings about the record are said on stderr, as without it.

    Args:
        name: of the run.
        steps: returns the number of optimizer steps so far.
        findings: returns the findings so far.
    """

    def __init__(self, name: str, steps: Callable[[], int], findings: Callable[[], list[Finding]]) -> None:
        self._name, self._steps, self._findings = name, steps, findings
        self._loss: float | None = None
        self._chance: float | None = None
        self._drawn = 0.0
        self._pictures: deque[tuple[float, int]] = deque(maxlen=_SPAN)
        self._state: Place | None = None
        self._below: Place | None = None
        self._is_new = self._failed = self._over = False

    def begins(self) -> None:
        """Take a place in the output of the cell that is running."""
        self._draw(RunStatus.RUNNING)

    def window(self, window: Window, findings: list[Finding]) -> None:
        """Take a window and its new or worse findings."""
        for reading in window.readings:
            if not reading.site and reading.signal == LOSS_TOTAL:
                self._loss = reading.values[0]
            elif not reading.site and reading.signal == LOSS_CHANCE:
                self._chance = reading.values[0]
        self._is_new = self._is_new or bool(findings)
        if self._failed:
            for finding in findings:
                if finding.code in ABOUT_THE_RECORD:
                    say(f"{finding.code} {finding.message}")
        self.beat()

    def beat(self) -> None:
        """Draw again, unless that was done just now, or the end is drawn: the thread may write on behind it."""
        if not self._over and time.monotonic() - self._drawn > PAUSE:
            self._draw(RunStatus.RUNNING)

    def ends(self, status: RunStatus | None) -> None:
        """Draw how the run ended; None where that could not be noted."""
        self._over = True
        self._draw(status)

    def state(self, status: RunStatus | None) -> Document:
        """Return what is drawn above the findings; a status of None is an end that is not in the record."""
        none = "none so far" if status is RunStatus.RUNNING else "none"
        row = (str(self._steps()), self._loss_text(), self._rate_text(), str(len(self._findings()) or none))
        table = Table(("step", "loss", "steps per second", "findings"), [row])
        if status is None:
            return [Headline("END NOT RECORDED", "warning", self._name), table]
        return [Headline(str(status).upper(), _TONES[status], self._name), table]

    def _loss_text(self) -> str:
        if self._loss is None:
            return "not seen yet"
        chance = "" if self._chance is None else f" (chance {value_text(self._chance)})"
        return value_text(self._loss) + chance

    def _rate_text(self) -> str:
        if len(self._pictures) < 2:
            return "–"
        (began, first), (now, last) = self._pictures[0], self._pictures[-1]
        return value_text((last - first) / (now - began)) if now > began else "–"

    def _draw(self, status: RunStatus | None) -> None:
        if self._failed:
            return
        try:
            self._drawn = time.monotonic()
            self._pictures.append((self._drawn, self._steps()))
            self._state = _drawn(self._state, self.state(status))
            if self._is_new or (self._below is not None and status is not RunStatus.RUNNING):
                self._below = _drawn(self._below, findings_document(self._findings()))
                self._is_new = False
        except Exception as error:  # of the front end or its connection: the training comes first
            self._failed = True
            say("the live view is not drawn any more, the record goes on", error)


def _drawn(place: Place | None, document: Document) -> Place:
    """Draw in a place, or in a new one; return it."""
    if place is None:
        return Place(document)
    place.put(document)
    return place


def live_view(name: str, steps: Callable[[], int], findings: Callable[[], list[Finding]]) -> LiveView | None:
    """Return a view where this process is the kernel of a notebook; elsewhere None."""
    return LiveView(name, steps, findings) if in_kernel() else None
