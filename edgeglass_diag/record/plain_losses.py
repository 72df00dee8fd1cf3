"""Observes losses that compare with a target entry by entry: regression and divergence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from edgeglass_diag.measures.labels import excess_mass
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.loss_readings import LossReadings
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import LOG_SOFTMAX, REGRESSIONS, bind
from edgeglass_diag.signals.losses import LOSS_EXCESS_MASS, LOSS_VALUE
from edgeglass_diag.sites import Kind, LossFunction, LossSite, Task

_FUNCTIONS = {
    functional.mse_loss: LossFunction.MSE_LOSS,
    functional.l1_loss: LossFunction.L1_LOSS,
    functional.smooth_l1_loss: LossFunction.SMOOTH_L1_LOSS,
    functional.huber_loss: LossFunction.HUBER_LOSS,
}


class PlainLossObserver(Observer):
    """Writes ``loss/value`` and ``loss/weight`` of losses without candidates, and what log-probabilities sum up to.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings
        self._log_softmaxes: Facts[Tensor, bool] = Facts()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(REGRESSIONS, self._regression)
        return table | dict.fromkeys(LOG_SOFTMAX, self._log_softmax) | {functional.kl_div: self._divergence}

    def forget(self) -> None:
        """Release what belongs to the window."""
        self._log_softmaxes.clear()

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._log_softmaxes.set(result, True)

    def _regression(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        task = Task.UNKNOWN if given["target"].requires_grad else Task.REGRESSION
        if task is Task.REGRESSION and self._recording.sources.sources([given["target"]]):
            task = Task.DISTILLATION
        self._value(_FUNCTIONS[func], task, given, result, rows=given["input"].numel())

    def _divergence(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logs: Tensor = given["input"]
        path = self._value(LossFunction.KL_DIV, Task.DISTILLATION, given, result, rows=logs.shape[:-1].numel())
        if logs in self._log_softmaxes:
            self._recording.buffer.add(path, LOSS_EXCESS_MASS, 0.0)
        elif logs.dim() == 2:
            with self._recording.measuring(path, Kind.LOSS):
                self._recording.buffer.add(path, LOSS_EXCESS_MASS, excess_mass(logs.detach()))

    def _value(self, function: LossFunction, task: Task, given: Mapping[str, Any], result: Tensor, *, rows: int) -> str:
        """Write the mean over rows: of what is averaged over all entries, too."""
        recording, reduction = self._recording, str(given.get("reduction", "mean"))
        path, entries = recording.stack.loss_path(function), given["input"].numel()
        with recording.measuring(path, Kind.LOSS):
            recording.sites.register_site(LossSite(path=path, function=function, reduction=reduction, task=task))
            whole = {"mean": entries, "batchmean": given["input"].shape[:1].numel()}.get(reduction, 1)
            recording.buffer.add(path, LOSS_VALUE, result.detach().double().sum() * (whole / (rows or 1)))
            self._readings.follow(path, result)
        return path
