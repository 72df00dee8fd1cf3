"""Wire recorder, rules and store: watch the training inside a ``with`` block."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import safetensors.numpy  # noqa: F401  like the next: an import in the writing thread would be cut in two by a fork
from torch import nn
from torch.optim import Optimizer

import edgeglass_diag.store.embeddings
import edgeglass_diag.store.slices  # noqa: F401
from edgeglass_diag.process import StopTraining as StopTraining
from edgeglass_diag.process import ending, environment, git
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.attention_layout import LOGITS
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.snapshots import PendingEmbeddings
from edgeglass_diag.records import Finding, Reading, UsageError, Window
from edgeglass_diag.rules import Engine, Rule
from edgeglass_diag.rules.choice import choose_rules, codes_to_stop_on, header_of
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.signals import metric
from edgeglass_diag.store import RunWriter

OnWindow = Callable[[Window, list[Finding]], None]
OnFinding = Callable[[Finding], object]
_QUEUE = 64


class Watch:
    """A context manager that records training into a run folder and judges it as it goes.

    One thread resolves, judges and writes the windows; the training waits for it only when it is more than 64 windows
    ahead. In a forked copy of the process the watch does nothing.

    Args:
        out: run folder, new or empty.
        name: name of the run, the folder's if None.
        every: distance of recorded windows in optimizer steps.
        exact_attention: measure all logits of each attention instead of a strided subset with its standard error.
        rules: rule objects, or codes and their prefixes; all as configured in pyproject.toml if None.
        header: further content for ``run.json``, e.g. the settings.
        stop_on: codes of findings on which StopTraining ends the training.
        on_window: called with each window and its new or worse findings, in the writing thread.
        on_finding: called with each new or worse finding, in the writing thread. An exception in it is noted in
            ``result`` and on stderr.
        store: called in the training thread when the first window is ready, with whether an optimizer has stepped;
            returns the store, or None for a process that trained nothing. If None, the store is made in ``out`` at
            once.

    Raises:
        UsageError: if ``out`` is not empty or cannot be written, or no rule has a code of ``rules``.

    Attributes:
        result: entries of the run's result, which may be set at any time.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        name: str | None = None,
        every: int = 10,
        exact_attention: bool = False,
        rules: Sequence[Rule | str] | None = None,
        header: Mapping[str, object] | None = None,
        stop_on: Sequence[str] = (),
        on_window: OnWindow | None = None,
        on_finding: OnFinding | None = None,
        store: Callable[[bool], RunWriter | None] | None = None,
    ) -> None:
        self.folder = Path(out)
        self.result: dict[str, object] = {}
        chosen = choose_rules(rules)
        self._engine = Engine(chosen)
        logits = None if exact_attention else LOGITS
        schedule = Schedule(every=every)
        self._recorder = Recorder(schedule, self._take, attention_logits=logits, embeddings=self._hand_over)
        self._stop_on, self._on_window, self._on_finding = tuple(stop_on), on_window, on_finding
        self._queue: queue.Queue[PendingWindow | PendingEmbeddings | Window | None] = queue.Queue(maxsize=_QUEUE)
        self._stop: Finding | None = None
        self._failure: BaseException | None = None
        self._process, self._closing, self._open, self._ended = os.getpid(), False, False, False
        self._make_store = store
        self._writer: RunWriter | None = None
        if store is None:
            about = {"every": every, "environment": environment(), "git": git(), "command": sys.argv, **(header or {})}
            self._writer = RunWriter(self.folder, name=name or self.folder.name, header=about | header_of(chosen))
        self._thread = threading.Thread(target=self._consume, name="edgeglass-diag writer", daemon=True)

    @property
    def findings(self) -> list[Finding]:
        """Return the findings so far."""
        return self._engine.findings

    @property
    def step(self) -> int:
        """Return the number of optimizer steps so far, which is the step whose window has begun."""
        return self._recorder.step

    def name_model(self, model: nn.Module) -> None:
        """Name a model's modules before it runs."""
        self._recorder.name_model(model)

    def follow(self, optimizer: Optimizer) -> None:
        """End windows with the steps of this optimizer, from its first one on."""
        self._recorder.follow(_innermost(optimizer))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics that the training itself reports, as signals ``metric/NAME``.

        Raises:
            UsageError: if called outside of the ``with`` block.
        """
        if not self._open:
            raise UsageError("log: expected inside of the watch's with block, where the record is open")
        readings = tuple(Reading(step, "", metric(name), (float(value),)) for name, value in metrics.items())
        self._hand_over(Window(step, readings))

    def abandon(self) -> None:
        """Stop watching in a forked copy of the process: remove the hooks, leave the store to the parent."""
        self._recorder.abandon()

    def __enter__(self) -> Watch:
        self._open = True
        if self._writer is not None:
            self._thread.start()
        self._recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            return
        self._closing, self._open, self._ended = True, False, error is None
        self._recorder.__exit__(kind, error, trace)
        if self._writer is None:
            return
        self._queue.put(None)
        self._thread.join()
        status, said = ending(error)
        if said is not None:
            self.result.setdefault("error", said)
        problem = None if self._failure is None else f"{type(self._failure).__name__}: {self._failure}"
        if problem is not None:
            self.result["recording"] = problem
        if self._engine.failures:
            self.result["rules_failed"] = dict(self._engine.failures)
        self._writer.finish(status, self.result)
        if problem is not None:  # last, as a warning may be an error here
            warnings.warn(f"edgeglass-diag stopped recording: {problem}", stacklevel=2)

    def _take(self, window: PendingWindow) -> None:
        self._hand_over(window)
        if self._stop is not None:
            raise StopTraining.on(self._stop)

    def _hand_over(self, window: PendingWindow | PendingEmbeddings | Window) -> None:
        if os.getpid() != self._process or self._failure is not None:
            return
        if self._writer is None and isinstance(window, PendingEmbeddings):
            return  # a process that trained nothing has no store
        if self._writer is None:
            self._writer = self._make_store(not self._closing) if self._make_store is not None else None
            if self._writer is None:
                return
            self._thread.start()
        self._queue.put(window)

    def _consume(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is not None:
                continue
            try:
                if isinstance(item, PendingEmbeddings):
                    self._keep(item)
                else:
                    self._judge(item.resolve() if isinstance(item, PendingWindow) else item)
            except BaseException as failure:  # the training goes on; reported at its end, in its own thread
                self._failure = failure
        if self._ended and self._failure is None:
            self._judge_the_end()

    def _judge_the_end(self) -> None:
        try:
            fresh = self._engine.end()
            if fresh:
                self._note(Window(self._engine.history.last_step, ()), fresh)
        except BaseException as failure:
            self._failure = failure

    def _keep(self, embeddings: PendingEmbeddings) -> None:
        if self._writer is not None:
            self._writer.write_embeddings(embeddings.step, *embeddings.resolve())

    def _judge(self, window: Window) -> None:
        self._note(window, self._engine.feed(window))

    def _note(self, window: Window, fresh: list[Finding]) -> None:
        if self._writer is not None:
            self._writer.write(window, self._engine.findings)
        if self._on_window is not None:
            self._on_window(window, fresh)
        for finding in fresh:
            self._report(finding)
        self._stop = self._stop or next((f for f in fresh if f.code in self._stop_on), None)

    def _report(self, finding: Finding) -> None:
        try:
            if self._on_finding is not None:
                self._on_finding(finding)
        except BaseException as error:  # the user's, sys.exit too; neither the record nor the training may end by it
            said = f"{type(error).__name__}: {error}"
            if self.result.setdefault("on_finding", said) is said:
                with contextlib.suppress(OSError, ValueError):  # a program may have closed its stderr
                    print(f"edgeglass-diag: on_finding failed on {finding.code}: {said}", file=sys.stderr)


def _innermost(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer that steps inside of wrappers such as those of Fabric and Accelerate."""
    inner = getattr(optimizer, "optimizer", None)
    return _innermost(inner) if isinstance(inner, Optimizer) and inner is not optimizer else optimizer


def watch(
    model: nn.Module | None = None,
    optimizer: Optimizer | None = None,
    *,
    out: str | Path,
    every: int = 10,
    exact_attention: bool = False,
    rules: Sequence[Rule | str] | None = None,
    stop_on: Sequence[str] = (),
    on_finding: OnFinding | None = None,
    name: str | None = None,
) -> Watch:
    """Watch the training inside a ``with`` block: the only line a training loop needs.

    Model and optimizer are found as they run, so both may be left out.

    Args:
        model: its modules are named at once, by their paths below it.
        optimizer: its steps end the windows, from its first one on; where it is done, as after the first phase of a
            training, those of the next. If None, those of the optimizer that steps first; with several optimizers, as
            in a GAN, name the one whose steps count.
        out: run folder, new or empty.
        every: distance of recorded windows in optimizer steps; the first eleven are always recorded.
        exact_attention: measure all logits of each attention at any cost; otherwise a strided subset of more than
            2^18, whose standard error is ``attention/entropy_se``.
        rules: rule objects, or codes and their prefixes; all as configured in pyproject.toml if None.
        stop_on: codes of findings that end the training, by raising StopTraining in its thread.
        on_finding: called with each new or worse finding, in the thread that writes the record. An exception in it is
            noted in the run's result and on stderr, and never ends the training.
        name: name of the run, the folder's if None.

    Raises:
        UsageError: if ``out`` is not empty or cannot be written, no rule that runs has a code that is given, or model
            or optimizer is something else.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise UsageError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    primary = _innermost(optimizer) if optimizer is not None else None
    if primary is not None and not isinstance(primary, Optimizer):
        raise UsageError(f"optimizer: expected one torch.optim.Optimizer, got {type(optimizer).__name__}")
    chosen = choose_rules(rules)
    watching = Watch(
        out,
        name=name,
        every=every,
        exact_attention=exact_attention,
        rules=chosen,
        stop_on=codes_to_stop_on(stop_on, chosen),
        on_finding=on_finding,
    )
    if model is not None:
        watching.name_model(model)
    if primary is not None:
        watching.follow(primary)
    return watching
