"""Observes contrastive losses that are written out: with logsumexp, log_softmax, softmax and log, or exp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.loss_readings import ChanceLevel, LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    EXPONENTIALS,
    LOG_SOFTMAX,
    LOGARITHMS,
    LOGARITHMS_OF_ONE_MORE,
    LOGSUMEXP,
    SOFTMAX,
    SUMS,
    bind,
    one_more_than,
)
from edgeglass_diag.sites import Kind, LossFunction, LossSite, Task

_ROW_DIMS: tuple[object, ...] = (1, -1, (1,), (-1,), [1], [-1])


@dataclass(frozen=True, slots=True, eq=False)
class _LogProbabilities:
    """Logarithms of a softmax of logits, whose loss may yet be told by a function that takes them.

    Attributes:
        path: of the loss if none does.
        result: the logarithms, as autograd knows them.
        logits: that they were made of.
        rows: the same, detached, laid out as rows of candidates.
        across: whether ``result`` lies across these rows.
    """

    path: str
    result: Tensor
    logits: Tensor
    rows: Tensor
    across: bool


class WrittenLossObserver(Observer):
    """Writes ``loss/*`` of logits that are products of embeddings, where no loss function of torch takes them.

    A loss that is linear in the logarithms of a softmax, as cross-entropies are, is known by the gradient that reaches
    them: its value and what it would be of a uniform softmax. Of others the logits alone are known.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings
        self._softmaxes: Facts[Tensor, tuple[Tensor, bool]] = Facts()
        self._open: dict[int, _LogProbabilities] = {}
        self._exponentials: dict[int, tuple[str, Tensor, Tensor]] = {}  # path, result and logits of each

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(LOGSUMEXP, self._logsumexp)
        table |= dict.fromkeys(LOG_SOFTMAX, self._log_softmax) | dict.fromkeys(SOFTMAX, self._softmax)
        table |= dict.fromkeys(LOGARITHMS, self._log) | dict.fromkeys(EXPONENTIALS, self._exp)
        table |= dict.fromkeys(SUMS, self._sum) | dict.fromkeys(LOGARITHMS_OF_ONE_MORE, self._log_of_one_more)
        return table | {functional.nll_loss: self._taken, functional.kl_div: self._taken}

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Follow the logarithms that no function has taken."""
        for known in self._open.values():
            with self._recording.measuring(known.path, Kind.LOSS):
                self._follow(known)
        for path, _, logits in self._exponentials.values():
            self._logits(LossFunction.EXP, path, logits, across=False, counted=False)
        self._open.clear()
        self._exponentials.clear()

    def forget(self) -> None:
        """Release the logits of the window."""
        self._softmaxes.clear()
        self._open.clear()
        self._exponentials.clear()

    def _logsumexp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A loss written as the logarithm of its softmax's denominator, less the right logits."""
        given = bind(func, args, kwargs)
        if self._is_product(given["input"]):
            path = self._recording.stack.loss_path(LossFunction.LOGSUMEXP)
            self._logits(LossFunction.LOGSUMEXP, path, given["input"], across=given["dim"] not in _ROW_DIMS)

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if self._is_product(given["input"]):
            self._note(result, given["input"], across=given["dim"] not in _ROW_DIMS)

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if self._is_product(given["input"]):
            self._softmaxes.prune()
            self._softmaxes.set(result, (given["input"], given["dim"] not in _ROW_DIMS))

    def _log(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        known = self._softmaxes.get(args[0])
        if known is not None:
            self._note(result, known[0], across=known[1])

    def _exp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._is_product(args[0]) and args[0].requires_grad:
            self._exponentials[id(result)] = self._recording.stack.loss_path(LossFunction.EXP), result, args[0]

    def _sum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """``1 + exp(x)`` judges each pair by itself, by a sigmoid."""
        self._exponentials.pop(id(one_more_than(args)), None)

    def _log_of_one_more(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._exponentials.pop(id(args[0]), None)

    def _taken(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._open.pop(id(bind(func, args, kwargs)["input"]), None)

    def _is_product(self, logits: Tensor) -> bool:
        return logits.dim() == 2 and self._recording.sources.product(logits) is not None

    def _logits(self, function: LossFunction, path: str, logits: Tensor, *, across: bool, counted: bool = True) -> None:
        with self._recording.measuring(path, Kind.LOSS):
            rows = logits.detach().mT if across else logits.detach()
            self._recording.sites.register_site(LossSite(path=path, function=function, task=Task.CONTRASTIVE))
            self._readings.logits(path, logits, rows, len(rows), with_candidates=counted)

    def _note(self, result: Tensor, logits: Tensor, *, across: bool) -> None:
        if result.requires_grad:
            path = self._recording.stack.loss_path(LossFunction.LOG_SOFTMAX)
            rows = logits.detach().mT if across else logits.detach()
            self._open[id(result)] = _LogProbabilities(path, result, logits, rows, across)

    def _follow(self, known: _LogProbabilities) -> None:
        site = LossSite(path=known.path, function=LossFunction.LOG_SOFTMAX, task=Task.CONTRASTIVE)
        self._recording.sites.register_site(site)
        chance = self._readings.logits(known.path, known.logits, known.rows, len(known.rows))
        self._readings.follow(known.path, known.result, lambda: ChanceLevel(-chance, chance))
