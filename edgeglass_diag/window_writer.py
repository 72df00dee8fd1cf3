"""The thread that resolves, judges and writes the windows."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from edgeglass_diag.alerts.alerts import Alerts
from edgeglass_diag.backlog import Backlog
from edgeglass_diag.earlier_part import take_over
from edgeglass_diag.forking import BUSY
from edgeglass_diag.live_ranks import LiveRanks
from edgeglass_diag.liveness import BEAT
from edgeglass_diag.process import error_text, say
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.signal_handlers import is_failure
from edgeglass_diag.record.snapshots import PendingEmbeddings
from edgeglass_diag.records import Finding, RunStatus, Window
from edgeglass_diag.rules import Engine
from edgeglass_diag.store import RunWriter

OnWindow = Callable[[Window, list[Finding]], None]
OnFinding = Callable[[Finding], object]
Item = PendingWindow | PendingEmbeddings | Window

QUEUE = 64
"""Windows by which the training may be ahead of the thread."""

STALL = 10.0
"""Seconds without progress, as on a disk that hangs, after which the training does not wait for the thread."""

LAST_STALL = 60.0
"""The same at the end of the training, where what is lost is lost for good."""


class WindowWriter:
    """Takes windows from the training's thread; no call of it raises, and none waits for ever.

    Args:
        engine: judges the windows.
        backlog: writes them.
        stop_on: codes of findings that end the training.
        on_window: called with each window and its new or worse findings.
        on_finding: called with each new or worse finding.
        on_beat: called where no window has come for ``BEAT`` seconds.
        report: called with each window and its new or worse findings, for the sinks; it may neither raise nor wait.
        alerts: told of each finding; None where nobody is.

    Attributes:
        stop: the finding on which the training is to end.
        notes: entries of the run's result.
    """

    def __init__(
        self,
        engine: Engine,
        backlog: Backlog,
        *,
        stop_on: Sequence[str],
        on_window: OnWindow | None,
        on_finding: OnFinding | None,
        report: OnWindow,
        alerts: Alerts | None = None,
        on_beat: Callable[[], None] | None = None,
    ) -> None:
        self.stop: Finding | None = None
        self.notes: dict[str, object] = {}
        self._engine, self._backlog = engine, backlog
        self._stop_on, self._on_window, self._on_finding = tuple(stop_on), on_window, on_finding
        self._report_to_sinks = report
        self._alerts, self._on_beat = alerts, on_beat
        self._ranks = LiveRanks(engine.rules)
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=QUEUE)
        self._thread: threading.Thread | None = None
        self._cut: RunWriter | None = None
        self._starting = threading.Lock()
        self._moved = time.monotonic()

    @property
    def findings(self) -> list[Finding]:
        """Return the findings so far, those across ranks and about the record behind the others."""
        across = self._ranks.findings
        return [*self._engine.findings_below(across), *across, *self._backlog.findings]

    def open(self, store: RunWriter) -> None:
        """Write to a store from now on; what an earlier process has written is taken over with the first window."""
        self._backlog.store = store
        self._backlog.go_on(store.record)
        self._cut = store if store.cuts else None
        self._ranks.follow(store.folder)

    def put(self, item: Item) -> None:
        """Take a window; one that cannot be taken is lost."""
        if not self._started():
            self._lose(item, "no thread could be started")
            return
        while self._is_alive():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                if time.monotonic() - self._moved > STALL:
                    break
        self._lose(item, f"nothing was written for {STALL:g} s" if self._is_alive() else "the writing thread has ended")

    def close(self, status: RunStatus, result: Mapping[str, object], *, ended: bool) -> bool:
        """Write what is left, and note how the run ended; return whether the end was noted.

        Args:
            status: how it ended.
            result: what the training reported.
            ended: whether the training came to its own end.
        """
        if not self._drained():
            say(f"the end of the run could not be noted: nothing was written for {LAST_STALL:g} s")
            return False
        if ended:
            self._safely(self._judge_the_end, is_last=True)
        self._safely(self._write_last, is_last=True)
        failed = self._engine.failures | self._ranks.failures
        failures = {"rules_failed": dict(failed)} if failed else {}
        noted = self._backlog.finish(status, {**result, **self.notes, **failures})
        self._safely(self._tell_last, is_last=True)
        return noted

    def leave(self, status: RunStatus, said: str | None) -> bool:
        """Note how the run ended where what is left cannot be written, as after Ctrl-C; return whether it was noted."""
        return self._backlog.finish(status, {} if said is None else {"error": said})

    def _started(self) -> bool:
        with self._starting:
            return self._thread is not None or self._start()

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="edgeglass-diag writer", daemon=True)
        self._moved = time.monotonic()
        try:
            thread.start()
        except RuntimeError:  # can't start new thread
            return False
        self._thread = thread
        return True

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _lose(self, item: Item, reason: str) -> None:
        if not isinstance(item, PendingEmbeddings):
            self._backlog.lose(item.step, reason)

    def _drained(self) -> bool:
        """Wait until the thread has done what is waiting; return whether it has."""
        if self._thread is None or not self._is_alive():
            return True
        if self._thread is threading.current_thread():  # on_finding ends the watch
            self._take_waiting()
            return True
        self._moved = time.monotonic()
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=LAST_STALL)
        while self._is_alive() and time.monotonic() - self._moved < LAST_STALL:
            self._thread.join(timeout=0.2)
        return not self._is_alive()

    def _take_waiting(self) -> None:
        """Take what is waiting, in the thread itself, which ends behind it."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    self._safely(lambda taken=item: self._take(taken))  # type: ignore[misc]
        with contextlib.suppress(queue.Full):  # no other thread would make room
            self._queue.put_nowait(None)

    def _take_over(self) -> None:
        store, self._cut = self._cut, None
        if store is not None:
            take_over(self._engine, store.folder, store.cuts)

    def _run(self) -> None:
        with BUSY:
            self._safely(self._take_over)
        while True:
            try:
                item = self._queue.get(timeout=BEAT)
            except queue.Empty:
                with BUSY:
                    self._safely(self._write)
                if self._on_beat is not None:
                    self._safely(self._on_beat)
                continue
            if item is None:
                return
            with BUSY:
                self._safely(lambda taken=item: self._take(taken))  # type: ignore[misc]
            self._moved = time.monotonic()

    def _take(self, item: Item) -> None:
        if isinstance(item, PendingEmbeddings):
            self._keep(item)
            return
        try:
            window = item.resolve() if isinstance(item, PendingWindow) else item
        except Exception as error:
            self._backlog.lose(item.step, error_text(error))
        else:
            self._judge(window)
        if self._queue.empty() or self._backlog.is_due:
            self._write()

    def _keep(self, embeddings: PendingEmbeddings) -> None:
        store = self._backlog.store
        if store is not None:
            try:
                store.write_embeddings(embeddings.step, *embeddings.resolve())
                samples = embeddings.resolve_samples()
                if samples is not None:
                    store.write_samples(embeddings.step, samples)
            except OSError as error:  # figures of one step: the windows tell whether the disk can be written
                self.notes.setdefault("embeddings_not_kept", error_text(error))

    def _judge(self, window: Window) -> None:
        self._backlog.add(window)
        try:
            fresh = self._engine.feed(window)
        except Exception as error:
            self._engine.failures.setdefault("EG", error_text(error))
            self._report_to_sinks(window, [])
            return
        self._tell(window, fresh)

    def _judge_the_end(self) -> None:
        fresh = self._engine.end()
        if fresh:
            last = Window(self._engine.history.last_step, ())
            self._backlog.add(last)
            self._tell(last, fresh)

    def _write_last(self) -> None:
        self._backlog.write_last(self._engine.findings)
        self._note()
        self._compare_ranks(last=True)

    def _write(self) -> None:
        self._backlog.write(self._engine.findings)
        self._note()
        self._compare_ranks()

    def _compare_ranks(self, *, last: bool = False) -> None:
        if fresh := self._ranks.look(last=last):
            self._tell(Window(max(self._engine.history.last_step, 0), ()), fresh)

    def _note(self) -> None:
        if fresh := self._backlog.note(self._engine.failures):
            self._tell(Window(max(self._engine.history.last_step, 0), ()), fresh)
            if self._on_window is None:
                for finding in fresh:
                    say(f"{finding.code} {finding.message}")

    def _tell(self, window: Window, fresh: list[Finding]) -> None:
        self._report_to_sinks(window, fresh)
        if self._on_window is not None:
            self._on_window(window, fresh)
        for finding in fresh:
            self._report(finding)
        if (alerts := self._alerts) is not None:
            self._safely(lambda: alerts.tell(fresh))
        self.stop = self.stop or next(filter(self._ends_training, fresh), None)

    def _ends_training(self, finding: Finding) -> bool:
        """Return whether a finding is one to stop on: not an early one, and none that the model has outgrown."""
        return finding.code in self._stop_on and not finding.is_early and not self._engine.has_lowered(finding)

    def _tell_last(self) -> None:
        if self._alerts is not None:
            self._alerts.tell(self.findings, last=True)
            self._alerts.close()

    def _report(self, finding: Finding) -> None:
        try:
            if self._on_finding is not None:
                self._on_finding(finding)
        except BaseException as error:  # the user's, sys.exit too; neither the record nor the training may end by it
            said = error_text(error)
            if self.notes.setdefault("on_finding", said) is said:
                say(f"on_finding failed on {finding.code}: {said}")

    def _safely(self, call: Callable[[], object], *, is_last: bool = False) -> None:
        """Call what may fail; the last calls are made in the training's thread, which Ctrl-C may end."""
        try:
            call()
        except BaseException as error:
            if is_last and not is_failure(error):
                raise
            said = error_text(error)
            if self.notes.setdefault("recording", said) is said:
                say(f"the record may be incomplete: {said}")
