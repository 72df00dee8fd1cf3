"""What the integrations share: the watch of one training, its findings as they come, and whether it is to stop."""

from __future__ import annotations

import atexit
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TypedDict, Unpack

import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.process import harmless
from edgeglass_diag.programs.announce import finding_text
from edgeglass_diag.schedule import USUAL

OnFinding = Callable[[eg.Finding], object]


class Options(TypedDict, total=False):
    """What an integration may be given besides the run folder; those not told of here are as of ``eg.watch``.

    Attributes:
        stop_on: codes of findings that end the training by the framework's own means.
        should_raise: end it by raising StopTraining at the end of the step instead.
        on_finding: called with each new or worse finding, in the thread that writes the record.
    """

    every: int | None
    exact_attention: bool
    samples: bool
    rules: Sequence[eg.Rule | str] | None
    name: str | None
    resume: bool
    stop_on: Sequence[str]
    should_raise: bool
    on_finding: OnFinding | None


@dataclass(frozen=True)
class Host:
    """What a framework gives to the session.

    Attributes:
        log: takes a level of ``logging`` and a line, and shows it on the first rank.
        rank: of this process.
        world_size: processes that train together.
        agree: returns whether any rank answers yes; all ranks call it at the same steps.
        count: takes numbers for the framework's trackers, by name; None where it has no place for them.
    """

    log: Callable[[int, str], None]
    rank: int = 0
    world_size: int = 1
    agree: Callable[[bool], bool] = bool
    count: Callable[[dict[str, float]], None] | None = None


class Session:
    """The watch of one training, from its framework's first event to its last. Without ``begin`` it does nothing.

    Args:
        out: run folder, new or empty.
        options: of the watch.
    """

    def __init__(self, out: str | Path, **options: Unpack[Options]) -> None:
        self._out, self._options = Path(out), options
        self._watch: eg.Watch | None = None
        self._host = Host(log=_silent)
        self._found: deque[eg.Finding] = deque()
        self._stopping: eg.StopTraining | None = None
        self._steps = 0

    def begin(self, model: nn.Module | None, host: Host) -> None:
        """Watch from now on, unless this process is recorded already.

        Raises:
            UsageError: as ``eg.watch``.
        """
        if self._watch is not None:  # a trainer that begins again with smaller batches goes on in the same record
            return
        count = None if host.count is None else harmless(host.count)
        host = self._host = replace(host, log=harmless(host.log), count=count)
        if eg.is_recorded():
            host.log(logging.WARNING, "edgeglass-diag run records this training: Diagnose makes no second record")
            return
        options: Options = {**self._options, "should_raise": False, "on_finding": self._take}
        watch = eg.watch(model, out=self._out, rank=host.rank, world_size=host.world_size, **options)
        self._watch, self._stopping, self._steps = watch.__enter__(), None, 0
        atexit.register(self._end_with_process)

    def after_step(self) -> bool:
        """Log new findings, and return whether the training is to stop.

        Raises:
            StopTraining: where it is, with ``should_raise``.
        """
        if self._watch is None:
            return False
        self._tell(self._watch)
        if self._stopping is None and self._is_to_stop(self._watch):
            stop = self._watch.stop
            self._stopping = (
                eg.StopTraining("stopped on a finding of another rank") if stop is None else eg.StopTraining.on(stop)
            )
            self._host.log(logging.WARNING, f"edgeglass-diag: {self._stopping}")
            if self._options.get("should_raise"):
                self.end()
                raise self._stopping
        return self._stopping is not None

    def record(self, metrics: Mapping[str, object]) -> None:
        """Record what among ``metrics`` is a number as ``metric/NAME`` of the step that was taken last."""
        harmless(self._record)(metrics)

    def _record(self, metrics: Mapping[str, object]) -> None:
        if self._watch is not None:
            numbers = {name: number for name, value in metrics.items() if (number := _number(value)) is not None}
            self._watch.log(numbers, max(self._watch.step - 1, 0))

    def end(self, error: BaseException | None = None) -> None:
        """End the record and log what was found last; do nothing if it has ended.

        Args:
            error: what ended the training, None if it ended by itself or was asked to.
        """
        watch, self._watch = self._watch, None
        if watch is None:
            return
        atexit.unregister(self._end_with_process)
        why = error or self._stopping
        watch.__exit__(None if why is None else type(why), why, None)
        self._tell(watch)

    def _end_with_process(self) -> None:
        """End the record of a training whose framework did not say that it ended, as after an error."""
        self.end(getattr(sys, "last_value", None))

    def _is_to_stop(self, watch: eg.Watch) -> bool:
        """Return whether any rank has a reason to stop; the ranks ask each other together, every so many steps."""
        if not self._options.get("stop_on"):
            return False
        if self._host.world_size == 1:
            return watch.stop is not None
        self._steps += 1
        return self._steps % (self._options.get("every") or USUAL) == 0 and self._host.agree(watch.stop is not None)

    def _take(self, finding: eg.Finding) -> None:
        self._found.append(finding)
        call = self._options.get("on_finding")
        if call is not None:
            call(finding)

    def _tell(self, watch: eg.Watch) -> None:
        """Log the findings that came since the last call."""
        if not self._found:
            return
        while self._found:
            finding = self._found.popleft()
            self._host.log(_LEVELS[finding.severity], finding_text(finding))
        if self._host.count is not None:
            found = watch.findings
            critical = sum(finding.severity is eg.Severity.CRITICAL for finding in found)
            self._host.count({"edgeglass_diag/findings": len(found), "edgeglass_diag/critical": critical})


_LEVELS = {
    eg.Severity.INFO: logging.INFO,
    eg.Severity.WARNING: logging.WARNING,
    eg.Severity.CRITICAL: logging.CRITICAL,
}


def _silent(level: int, text: str) -> None:
    """Log nothing: the training has not begun."""


def _number(value: object) -> float | None:
    """Return a number or a tensor of one number as a float, None for anything else."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.is_complex() else None
    return float(value) if isinstance(value, Real) else None
