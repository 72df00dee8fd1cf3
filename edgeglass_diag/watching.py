"""Wire recorder, rules and store: what watches the training inside a ``with`` block."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import safetensors.numpy  # noqa: F401  like the next: an import in the writing thread would be cut in two by a fork
from torch import nn
from torch.optim import Optimizer

import edgeglass_diag.store.embeddings
import edgeglass_diag.store.samples
import edgeglass_diag.store.slices  # noqa: F401
from edgeglass_diag.alerts.address import check_address, without_secret
from edgeglass_diag.alerts.alerts import Alerts
from edgeglass_diag.backlog import Backlog
from edgeglass_diag.folders import fixed
from edgeglass_diag.notebooks.live import live_view
from edgeglass_diag.own_rank import speaks
from edgeglass_diag.process import StopTraining as StopTraining
from edgeglass_diag.process import ending, environment, git, harmless, say
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.attention_layout import LOGITS
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.signal_handlers import is_failure
from edgeglass_diag.record.snapshots import PendingEmbeddings
from edgeglass_diag.records import Finding, Findings, Reading, RunStatus, Standing, UsageError, Window
from edgeglass_diag.rules import Engine, Rule
from edgeglass_diag.rules.choice import choose_rules, header_of
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.signals import metric
from edgeglass_diag.sinks import About, Feeds
from edgeglass_diag.store import RunWriter
from edgeglass_diag.window_writer import OnFinding, OnWindow, WindowWriter


class Watch:
    """A context manager that records training into a run folder and judges it as it goes.

    One thread resolves, judges and writes the windows; the training waits for it only when it is more than 64 windows
    ahead. In a forked copy of the process the watch does nothing. What fails in the watch never reaches the training:
    it is said on stderr, and what was not recorded is a finding (EG901 to EG906).

    Args:
        out: run folder, new or empty unless the run in it goes on; made absolute at once.
        name: name of the run, the folder's if None.
        every: distance of recorded windows in optimizer steps; if None as ``Schedule.of`` says.
        exact_attention: measure all logits of each attention instead of a strided subset with its standard error.
        samples: keep small pictures and captions of the pairs whose embeddings are kept.
        rules: rule objects, or codes and their prefixes; all as configured in pyproject.toml if None.
        header: further content for ``run.json``, e.g. the settings.
        stop_on: codes of findings on which StopTraining ends the training.
        should_raise: raise it; otherwise whoever trains ends the training where ``stop`` says so.
        stop_after: optimizer steps after which it does, noted as ``stopped_after`` in the result; None without a limit.
        resume: step at which the run in ``out`` goes on (``store.next_step``); None for a new run.
        on_window: called with each window and its new or worse findings, in the writing thread.
        on_finding: called with each new or worse finding, in the writing thread. An exception in it is noted in
            the run's result and on stderr.
        feeds: the sinks that are told of the run as it goes; none if None.
        notify: address of a webhook that is told of each finding once, as rank 0 has it.
        live: draw the training in the cell of a notebook, where there is one and nothing else is told of the windows.
        store: called in the training thread when the first window is ready, with whether an optimizer has stepped;
            returns the store, or None for a process that trained nothing. If None, the store is made in ``out`` at
            once.

    Raises:
        UsageError: if ``out`` is not empty or cannot be written, the run in it cannot go on, or no rule has a code of
            ``rules``.

    Attributes:
        result: entries of the run's result, which may be set at any time.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        name: str | None = None,
        every: int | None = None,
        exact_attention: bool = False,
        samples: bool = True,
        rules: Sequence[Rule | str] | None = None,
        header: Mapping[str, object] | None = None,
        stop_on: Sequence[str] = (),
        should_raise: bool = True,
        stop_after: int | None = None,
        resume: int | None = None,
        on_window: OnWindow | None = None,
        on_finding: OnFinding | None = None,
        feeds: Feeds | None = None,
        notify: str | None = None,
        live: bool = False,
        store: Callable[[bool], RunWriter | None] | None = None,
    ) -> None:
        self.folder = fixed(Path(out))
        self.result: dict[str, object] = {}
        chosen = choose_rules(rules)
        self._engine = Engine(chosen)
        logits = None if exact_attention else LOGITS
        first = resume or 0
        self._stop_after = None if stop_after is None else first + stop_after
        last = None if self._stop_after is None else self._stop_after - 1
        schedule = Schedule.of(every, last=last, first=first)
        self._recorder = Recorder(
            schedule, self._take, attention_logits=logits, embeddings=self._hand_over, samples=samples, first=first
        )
        self._first, self._ahead = first, 0 if first == 0 else None
        backlog = Backlog(chosen, lambda: self._recorder.step)
        named = name or self.folder.name
        alerts = None if notify is None else Alerts(check_address(notify, "notify"), named, speaks)
        self._feeds = feeds or Feeds()
        shown = live and on_window is None
        self._view = live_view(named, lambda: self.step, lambda: self.findings) if shown else None
        self._windows = WindowWriter(
            self._engine,
            backlog,
            stop_on=stop_on,
            on_window=on_window if self._view is None else self._view.window,
            on_beat=None if self._view is None else self._view.beat,
            on_finding=on_finding,
            report=self._feeds.put,
            alerts=alerts,
        )
        self._hand_over_log = harmless(self._hand_over)
        self._process, self._stage = os.getpid(), Standing.MADE
        self._should_raise = should_raise
        self._make_store = store
        self._store: RunWriter | None = None
        if store is None:
            facts = {**schedule.facts, "environment": environment(), "git": git()}
            about = {**facts, "command": without_secret(sys.argv, notify), **(header or {})}
            self._store = RunWriter(
                self.folder, name=named, header=about | header_of(chosen), begun=False, resume=resume
            )

    @property
    def findings(self) -> Findings:
        """Return the findings so far, those about the record itself behind the others."""
        return Findings(self._windows.findings)

    @property
    def stop(self) -> Finding | None:
        """Return the finding of ``stop_on`` on which the training is to end, None while it may go on."""
        return self._windows.stop

    @property
    def step(self) -> int:
        """Return the number of optimizer steps so far, which is the step whose window has begun."""
        return self._recorder.step

    @property
    def training_thread(self) -> threading.Thread | None:
        """Return the thread that is watched, None where none is known or it has ended."""
        return self._recorder.training_thread

    def name_model(self, model: nn.Module) -> None:
        """Name a model's modules before it runs."""
        self._recorder.name_model(model)

    def follow(self, optimizer: Optimizer) -> None:
        """End windows with the steps of this optimizer, from its first one on."""
        self._recorder.follow(innermost(optimizer))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics that the training itself reports, as signals ``metric/NAME``.

        In a run that goes on the step of the first call is taken for the last one that was taken, and later ones by
        their distance from it: the training may count from its checkpoint.

        Raises:
            UsageError: if called outside of the ``with`` block.
        """
        if self._stage is not Standing.OPEN:
            raise UsageError("log: expected inside of the watch's with block, where the record is open")
        if self._ahead is None:
            self._ahead = max(self._first, self.step - 1) - step
        step += self._ahead
        readings = tuple(Reading(step, "", metric(name), (float(value),)) for name, value in metrics.items())
        self._hand_over_log(Window(step, readings))

    def abandon(self) -> None:
        """Stop watching in a forked copy of the process: remove the hooks, leave the store to the parent."""
        self._recorder.abandon()

    def __enter__(self) -> Watch:
        if self._stage is not Standing.MADE:
            raise UsageError(f"a watch records one run; this one {self._stage}: make another with eg.watch(...)")
        self._stage = Standing.OPEN
        try:
            if self._store is not None:
                self._store.begin()
                self._write_to(self._store)
            if self._view is not None:
                self._view.begins()
            self._recorder.__enter__()
        except BaseException as error:
            self._recorder.abandon()
            if is_failure(error):
                say("not watched", error)
                return self
            # Ctrl-C: the block is not entered, so that __exit__ does not come.
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process or self._stage is not Standing.OPEN:
            return
        self._stage = Standing.ENDED
        try:
            self._recorder.__exit__(kind, error, trace)
            status, said = ending(error)
            result = self.result if said is None else {"error": said, **self.result}
            noted = self._windows.close(status, result, ended=error is None)
            self._show_end(status if noted else None)
            self._feeds.finish(status)
        except BaseException as late:
            if is_failure(late):
                say("the end of the run could not be recorded", late)
                self._show_end(None)
                return
            status, said = ending(late)  # Ctrl-C while the last windows are written
            self._show_end(status if self._windows.leave(status, said) else None)
            raise

    def _show_end(self, status: RunStatus | None) -> None:
        if self._view is not None:
            self._view.ends(status)

    def _take(self, window: PendingWindow) -> None:
        # Where weights come from is known of the first part: here most of them are loaded.
        self._hand_over(replace(window, origins=()) if self._first else window)
        if self._should_raise and self.stop is not None and self._stage is Standing.OPEN:
            raise StopTraining.on(self.stop)
        if self._stop_after is not None and window.step + 1 >= self._stop_after and self._stage is Standing.OPEN:
            self.result["stopped_after"] = window.step + 1
            raise StopTraining.after(window.step + 1)

    def _hand_over(self, window: PendingWindow | PendingEmbeddings | Window) -> None:
        if os.getpid() != self._process:
            return
        if self._store is None and not self._opened(window):
            return
        self._windows.put(window)

    def _opened(self, window: PendingWindow | PendingEmbeddings | Window) -> bool:
        """Make the store with the first window; return whether there is one: a process that never trained has none."""
        if isinstance(window, PendingEmbeddings) or self._make_store is None:
            return False
        try:
            self._store = self._make_store(self._stage is Standing.OPEN)
        except Exception as error:
            say(f"process {os.getpid()} is not recorded", error)
            self._make_store = None
        if self._store is None:
            return False
        self._write_to(self._store)
        return True

    def _write_to(self, store: RunWriter) -> None:
        self._windows.open(store)
        self._feeds.begin(About(store.name, store.folder))


def innermost(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer that steps inside of wrappers such as those of Fabric and Accelerate."""
    inner = getattr(optimizer, "optimizer", None)
    return innermost(inner) if isinstance(inner, Optimizer) and inner is not optimizer else optimizer
