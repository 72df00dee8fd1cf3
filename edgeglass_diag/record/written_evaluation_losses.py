"""Observes losses of an evaluation that are written out: what labels pick of logarithms of a softmax, or of logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.log_probabilities import ROW_DIMS, LogProbabilities, LogProbabilityObserver
from edgeglass_diag.record.loss_readings import LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import DIAGONALS, DIFFERENCES, DIVISIONS, SUMS, bind, leading
from edgeglass_diag.signals.losses import LOSS_VALUE
from edgeglass_diag.sites import Kind, LossFunction, LossSite, Task

_OPEN = 16
"""Logarithms that wait for their labels, at most: of those before them nothing was picked."""


@dataclass(frozen=True, slots=True, eq=False)
class _Picked:
    """What labels have picked of logits, on its way to a difference.

    Attributes:
        logits: that they are made of.
        labels: (N,) which column was picked of each row.
    """

    logits: Tensor
    labels: Tensor


class WrittenEvaluationLosses(LogProbabilityObserver):
    """Writes ``loss/*`` of an evaluation whose loss no function of torch takes, where one label is picked of each row.

    Labels pick by ``gather``, an index, a diagonal, or one-hot rows times the logarithms; of logits they do so beside
    their ``logsumexp``. No gradient tells of weights, so that rows which a mask leaves out later on count as well:
    sequences have such rows, and are left out.

    Args:
        recording: of the evaluation.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        super().__init__(recording, without_gradients=True)
        self._readings = readings
        self._picks: Facts[Tensor, _Picked] = Facts()
        self._paths: dict[int, str] = {}

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        own = dict.fromkeys(DIAGONALS, leading(self._diagonal))
        return {**super().functions, **own, **dict.fromkeys((*DIFFERENCES, *SUMS), leading(self._combine))}

    def has_labels(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether one-hot labels are among these."""
        return any(tensor in self._one_hot for tensor in tensors)

    def forget(self) -> None:
        """Release the logits of the window."""
        super().forget()
        self._picks.clear()
        self._paths.clear()

    def _note(self, result: Tensor, logits: Tensor, values: Tensor, *, across: bool) -> None:
        super()._note(result, logits, values, across=across)
        while len(self._open) > _OPEN:
            del self._open[next(iter(self._open))]

    def _logsumexp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        super()._logsumexp(func, args, kwargs, result)
        if result in self._denominators:
            self._paths[id(result)] = self._recording.stack.loss_path(LossFunction.LOGSUMEXP)

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """What was picked may be laid out otherwise, and have another sign; scaled it is of other logits."""
        super()._carry(func, args, kwargs, result)
        known = self._picks.get(args[0])
        if known is not None and func not in DIVISIONS and result.numel() == args[0].numel():
            self._picks.set(result, known)

    def _diagonal(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        rows = args[0].shape[0]
        if args[0].dim() == 2 and not args[1:] and not kwargs and rows == args[0].shape[1]:
            self._pick_labels(args[0], torch.arange(rows, device=args[0].device), result)

    def _pick(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        index, dim = given.get("index", given.get("indices")), given.get("dim")
        across = dim not in ROW_DIMS
        if isinstance(index, Tensor) and index.dim() == 2 and dim is not None and index.shape[0 if across else 1] == 1:
            self._pick_labels(args[0], index.flatten(), result, across=across)

    def _index(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        index, values = args[1], args[0]
        is_pair = isinstance(index, tuple) and len(index) == 2 and all(map(_is_whole, index))
        if is_pair and values.dim() == 2 and result.shape == values.shape[:1]:
            rows, labels = (torch.as_tensor(each, device=values.device) for each in index)
            own = torch.arange(len(values), device=values.device)
            self._pick_labels(values, torch.where((rows == own).all(), labels, -1), result)
        else:
            self._reshape(func, args, kwargs, result)

    def _scale(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        super()._scale(func, args, kwargs, result)
        for one, other in (args[:2], args[1::-1]) if len(args) > 1 else ():
            if isinstance(one, Tensor) and one in self._one_hot and isinstance(other, Tensor) and one.dim() == 2:
                self._pick_labels(other, one.abs().argmax(-1), None)

    def _combine(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """The logarithm of a sum of exponentials and the logits that labels have picked, in either order."""
        if func in SUMS:
            self._add(func, args, kwargs, result)
        else:
            self._subtract(func, args, kwargs, result)
        for one, other in (args[:2], args[1::-1]) if len(args) > 1 else ():
            if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
                continue
            terms, picked = self._denominators.get(one), self._picks.get(other)
            path = None if terms is None else self._paths.get(terms.made)
            if terms is None or picked is None or path is None or not self._are_alike(terms.logits, picked.logits):
                continue
            rows = terms.values.mT if terms.across else terms.values
            own = rows.gather(1, picked.labels.clamp(0, rows.shape[1] - 1).unsqueeze(1)).squeeze(1)
            labels = torch.where((own.abs() == other.detach().abs()).all(), picked.labels, -1)
            self._write(path, LossFunction.LOGSUMEXP, terms.logits, rows, rows.log_softmax(-1), labels)

    def _pick_labels(self, values: Tensor, labels: Tensor, result: Tensor | None, *, across: bool = False) -> None:
        known = self._open.pop(id(values), None)
        if known is not None:
            self._follow(known, labels, across=across)
        elif result is not None and self._task(values) is not None:
            self._picks.set(result, _Picked(values, labels))

    def _are_alike(self, one: Tensor, other: Tensor) -> bool:
        """Return whether these are the same logits, or of one product: whether by the same factor, the values tell."""
        products = [self._recording.sources.product(logits) for logits in (one, other)]
        if products[0] is None or products[1] is None:
            return one is other
        return products[0].key == products[1].key and one.numel() == other.numel()

    def _follow(self, known: LogProbabilities, labels: Tensor, *, across: bool) -> None:
        if known.task is Task.GENERATION or (across and not known.across) or len(labels) != len(known.rows):
            return
        logs = known.laid_out(known.result.detach())
        self._write(known.path, LossFunction.LOG_SOFTMAX, known.logits, known.rows, logs, labels)

    def _write(
        self, path: str, function: LossFunction, logits: Tensor, rows: Tensor, logs: Tensor, labels: Tensor
    ) -> None:
        recording, task = self._recording, self._task(logits)
        if task is None:
            return
        with recording.measuring(path, Kind.LOSS):
            recording.sites.register_site(LossSite(path=path, function=function, task=task))
            counted = (labels >= 0) & (labels < rows.shape[1])
            uniform = self._readings.logits(path, logits, rows, len(rows))
            picked = logs.gather(1, labels.clamp(0, rows.shape[1] - 1).unsqueeze(1)).squeeze(1).double()
            value = -torch.where(counted, picked, torch.nan).mean()
            recording.buffer.add(path, LOSS_VALUE, value)
            self._readings.of_pair(logits, value)
            self._readings.answers(path, rows, labels, counted)
            self._readings.pairing(logits, rows, torch.where(counted, labels, -1))
            self._readings.level(path, rows, labels, counted, uniform, weight=None, smoothing=0.0)


def _is_whole(index: object) -> bool:
    """Return whether an index picks entries by their numbers."""
    return isinstance(index, (Tensor, range, list))
