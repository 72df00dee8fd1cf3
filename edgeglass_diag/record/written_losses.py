"""Observes losses that are written out: with logsumexp, log_softmax, softmax and log, or exp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from edgeglass_diag.record.log_probabilities import ROW_DIMS, LogProbabilities, LogProbabilityObserver
from edgeglass_diag.record.loss_readings import ChanceLevel, LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    EXPONENTIALS,
    LOGARITHMS_OF_ONE_MORE,
    LOGSUMEXP,
    SUMS,
    bind,
    leading,
    one_more_than,
)
from edgeglass_diag.record.written_targets import WrittenTargets
from edgeglass_diag.sites import Kind, LossFunction, LossSite, Task


@dataclass(frozen=True, slots=True, eq=False)
class _Logits:
    """Logits of a loss of which no more is known.

    Attributes:
        function: that took them.
        path: of the loss.
        result: of the function.
        logits: that it took.
        across: whether it took columns for rows.
    """

    function: LossFunction
    path: str
    result: Tensor
    logits: Tensor
    across: bool


class WrittenLossObserver(Observer):
    """Writes ``loss/*`` of logits of embeddings or of a head, where no loss function of torch takes them.

    A loss that is linear in the logarithms of a softmax, as cross-entropies are, is known by the gradient that reaches
    them: its value, its targets, and what it would be of a uniform softmax. Of others the logits alone are known.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
        logs: knows the logarithms of softmaxes; it comes before this one.
    """

    def __init__(self, recording: Recording, readings: LossReadings, logs: LogProbabilityObserver) -> None:
        self._recording, self._readings, self._logs = recording, readings, logs
        self._targets = WrittenTargets(recording, readings)
        self._unknown: dict[int, _Logits] = {}

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(LOGSUMEXP, self._logsumexp)
        table |= dict.fromkeys(EXPONENTIALS, self._exp) | dict.fromkeys(SUMS, self._sum)
        table |= dict.fromkeys(LOGARITHMS_OF_ONE_MORE, self._log_of_one_more)
        return {function: leading(handler) for function, handler in table.items()}

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Follow the logarithms that no function has taken."""
        for known in self._logs.losses():
            with self._recording.measuring(known.path, Kind.LOSS):
                self._follow(known)
        for made, unknown in self._unknown.items():
            if made not in self._logs.taken:
                with self._recording.measuring(unknown.path, Kind.LOSS):
                    self._write(unknown)
        self._unknown.clear()
        self._logs.taken.clear()

    def forget(self) -> None:
        """Release the logits of the window."""
        self._unknown.clear()

    def _logsumexp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A loss written as the logarithm of its softmax's denominator, less the right logits."""
        given = bind(func, args, kwargs)
        self._keep(LossFunction.LOGSUMEXP, given["input"], result, across=given["dim"] not in ROW_DIMS)

    def _exp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if args[0].requires_grad:
            self._keep(LossFunction.EXP, args[0], result, across=False)

    def _sum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """``1 + exp(x)`` judges each pair by itself, by a sigmoid."""
        self._unknown.pop(id(one_more_than(args)), None)

    def _log_of_one_more(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._unknown.pop(id(args[0]), None)

    def _keep(self, function: LossFunction, logits: Tensor, result: Tensor, *, across: bool) -> None:
        if logits.dim() == 2 and self._recording.sources.product(logits) is not None:
            path = self._recording.stack.loss_path(function)
            self._unknown[id(result)] = _Logits(function, path, result, logits, across)

    def _write(self, of: _Logits) -> None:
        rows = of.logits.detach().mT if of.across else of.logits.detach()
        self._recording.sites.register_site(LossSite(path=of.path, function=of.function, task=Task.CONTRASTIVE))
        counted = of.function is not LossFunction.EXP
        self._readings.logits(of.path, of.logits, rows, len(rows), with_candidates=counted)

    def _follow(self, known: LogProbabilities) -> None:
        site = LossSite(path=known.path, function=LossFunction.LOG_SOFTMAX, task=known.task)
        self._recording.sites.register_site(site)
        uniform = self._readings.logits(known.path, known.logits, known.rows, len(known.rows))
        self._readings.follow(known.path, known.result, partial(self._level, known, uniform))

    def _level(self, known: LogProbabilities, uniform: Tensor, gradient: Tensor) -> ChanceLevel:
        level = self._targets.read(known, uniform, gradient)
        return ChanceLevel(-level, level)
