"""The windows on their way to the store, and the account of what the record holds and has lost."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from edgeglass_diag.process import error_text, say
from edgeglass_diag.records import Finding, Gap, RecordState, RunStatus, Window
from edgeglass_diag.rules import Rule
from edgeglass_diag.rules.record_health import record_findings
from edgeglass_diag.store import RunWriter

KEPT_WINDOWS = 256
KEPT_READINGS = 2**18
"""Windows that are kept while the store cannot be written, and readings in them: some 64 MiB. Of more the oldest are
lost."""

COMMIT = 0.5
"""Seconds after which windows are written although more are waiting: what a killed process loses at most."""

LOCK = 30.0
"""Seconds for which a store that another process has locked counts as one that will be written."""


class Backlog:
    """Windows that are judged and not yet written. To be used by the writing thread, but for ``lose``.

    Where the store cannot be written, as on a full disk, windows are kept, and written when it can be written again.
    What could not be kept is a gap in the record. Both are findings of their own.

    Args:
        rules: those that run.
        steps: returns the number of optimizer steps so far.

    Attributes:
        store: written to, None until the first window is ready.
        findings: what is wrong with the record now.
    """

    def __init__(self, rules: Sequence[Rule], steps: Callable[[], int]) -> None:
        self.store: RunWriter | None = None
        self.findings: list[Finding] = []
        self._rules, self._steps = rules, steps
        self._windows: deque[Window] = deque()
        self._lost: deque[tuple[int, str]] = deque()
        self._record = RecordState()
        self._committed = self._beaten = time.monotonic()
        self._locked_since: float | None = None

    @property
    def record(self) -> RecordState:
        """Return how the record stands."""
        return self._record

    @property
    def is_due(self) -> bool:
        """Return whether windows have waited long enough."""
        return time.monotonic() - self._committed > COMMIT

    def go_on(self, record: RecordState) -> None:
        """Count on from what the store holds already."""
        self._record = record

    def add(self, window: Window) -> None:
        """Take a window that is to be written."""
        self._windows.append(window)

    def lose(self, step: int, reason: str) -> None:
        """Note that a window is lost; may be called in any thread."""
        self._lost.append((step, reason))

    def write(self, findings: Sequence[Finding]) -> None:
        """Write the windows with all findings so far; keep them where the store cannot be written now."""
        self._committed = time.monotonic()
        if self.store is None or not self._windows:
            return
        *earlier, newest = self._windows
        try:
            self.store.write(newest, findings, earlier=earlier)
        except (OSError, sqlite3.OperationalError) as error:
            self._keep(error)
        except Exception:  # one of them cannot be written: not the place is at fault
            self._write_singly(self.store, findings)
        else:
            self._written(len(self._windows))

    def write_last(self, findings: Sequence[Finding]) -> None:
        """Write the windows at the end of the training; wait for a lock that another process holds."""
        self.write(findings)
        while self._locked_since is not None and time.monotonic() - self._locked_since < LOCK:
            self.write(findings)

    def _write_singly(self, store: RunWriter, findings: Sequence[Finding]) -> None:
        """Write one window after the other, and lose those that cannot be written."""
        while self._windows:
            window = self._windows[0]
            try:
                store.write(window, findings)
            except (OSError, sqlite3.OperationalError) as error:
                self._keep(error)
                return
            except Exception as error:
                self.lose(window.step, error_text(error))
                self._windows.popleft()
            else:
                self._written(1)

    def _written(self, number: int) -> None:
        """Note that the oldest windows are in the store."""
        newest = self._windows[number - 1]
        for _ in range(number):
            self._windows.popleft()
        self._locked_since = None
        resumed = bool(self._record.stopped)
        recorded = self._record.recorded + number
        self._record = replace(self._record, stopped="", stopped_at=-1, recorded=recorded)
        if resumed:
            self.beat(RunStatus.RUNNING)
            say(f"recording goes on at step {newest.step}")

    def _keep(self, error: OSError | sqlite3.OperationalError) -> None:
        """Keep the windows for later; a lock, as of a reader, is waited for before it is said."""
        reason = error_text(error)
        self._give_up_oldest(reason)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            self._locked_since = self._locked_since or time.monotonic()
            if time.monotonic() - self._locked_since < LOCK:
                return
        else:
            self._locked_since = None
        stopped_at = self._record.stopped_at if self._record.stopped else self._windows[0].step
        self._record = replace(self._record, stopped=reason, stopped_at=stopped_at)

    def note(self, failed_rules: Mapping[str, str]) -> list[Finding]:
        """Take note of what was lost since, and give a sign of life; return what is new to be said of the record."""
        gaps = list(self._record.gaps)
        while self._lost:
            _append(gaps, *self._lost.popleft())
        record = replace(self._record, gaps=tuple(gaps), failed_rules=dict(failed_rules), taken=self._steps())
        before = {finding.key for finding in self.findings}
        self._record, self.findings = record, record_findings(self._rules, record, ())
        fresh = [finding for finding in self.findings if finding.key not in before]
        if fresh or time.monotonic() - self._beaten > COMMIT:
            self.beat(RunStatus.RUNNING)
        return fresh

    def beat(self, status: RunStatus) -> None:
        """Note how the record stands where a reader finds it."""
        self._beaten = time.monotonic()
        self._record = replace(self._record, taken=self._steps())
        if self.store is not None and not self.store.has_ended:
            with contextlib.suppress(OSError):  # what cannot be noted was said on the terminal
                self.store.note_state(status, self._record)

    def finish(self, status: RunStatus, result: Mapping[str, object]) -> bool:
        """Note how the run ended; return whether that stands in the store."""
        if self.store is None:
            return False
        try:
            self.store.finish(status, result, replace(self._record, taken=self._steps()))
        except Exception as error:
            say(f"the end of the run could not be noted in {self.store.folder}", error)
            return False
        return True

    def _give_up_oldest(self, reason: str) -> None:
        """Lose the windows for which there is no room; what is new of sites and origins goes to the next."""
        readings = sum(len(window.readings) for window in self._windows)
        while len(self._windows) > 1 and (len(self._windows) > KEPT_WINDOWS or readings > KEPT_READINGS):
            lost, following = self._windows.popleft(), self._windows[0]
            readings -= len(lost.readings)
            sites, origins = lost.sites + following.sites, lost.origins + following.origins
            self._windows[0] = replace(following, sites=sites, origins=origins)
            self.lose(lost.step, reason)


def _append(gaps: list[Gap], step: int, reason: str) -> None:
    """Add a lost window, to the last gap where it has the same reason."""
    if gaps and gaps[-1].reason == reason:
        last = gaps[-1]
        first, newest = min(last.first, step), max(last.last, step)
        gaps[-1] = replace(last, first=first, last=newest, windows=last.windows + 1)
    else:
        gaps.append(Gap(step, step, 1, reason))
