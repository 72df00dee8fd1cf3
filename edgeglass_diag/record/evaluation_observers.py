"""The observers of evaluation passes: those of losses and embeddings a second time, with statistics of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.nn import functional

from edgeglass_diag.record.backward_state import BackwardState
from edgeglass_diag.record.embedding_sides import EmbeddingSides
from edgeglass_diag.record.evaluation_answers import AnswerObserver
from edgeglass_diag.record.evaluation_recalls import EvaluationEmbeddings
from edgeglass_diag.record.loss_passes import LossPasses
from edgeglass_diag.record.loss_readings import LossReadings
from edgeglass_diag.record.losses import LossObserver
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.nested import arguments_in, tensors_in
from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer
from edgeglass_diag.record.plain_losses import PlainLossObserver
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.scaling import LossScaleObserver
from edgeglass_diag.record.sigmoid_losses import SigmoidLossObserver
from edgeglass_diag.record.tensor_sources import TensorSources
from edgeglass_diag.record.written_evaluation_losses import WrittenEvaluationLosses


@dataclass(frozen=True)
class EvaluationObservers:
    """What is observed in evaluation passes.

    Attributes:
        recording: of the same watch, with statistics, sites and sources of its own.
        embeddings: counts recalls.
        written: knows one-hot labels.
        all: every observer.
    """

    recording: Recording
    embeddings: EvaluationEmbeddings
    written: WrittenEvaluationLosses
    all: tuple[Observer, ...]

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """Return the handlers by function: of what an evaluation pass has given out, and of one-hot labels."""
        sources = self.recording.sources
        table: dict[Function, list[FunctionHandler]] = {}
        for observer in self.all:
            for function, handler in observer.functions.items():
                table.setdefault(function, []).append(handler)
        single = {function: _of_evaluation(sources, self.written, handlers) for function, handlers in table.items()}
        return {EVERY_FUNCTION: sources.functions_in_any_phase[EVERY_FUNCTION], **single}

    def concerns(self, arguments: tuple[Any, ...]) -> bool:
        """Return whether something that an evaluation pass has given out is among these arguments of a function."""
        return bool(self.recording.sources.sources(tensors_in([arguments])))


def make_evaluation_observers(
    recording: Recording, scale: LossScaleObserver, backward: BackwardState
) -> EvaluationObservers:
    """Return the observers of evaluation passes.

    Args:
        recording: state of the watch.
        scale: takes the factor of mixed precision off a gradient, of which there are none.
        backward: whether a backward pass is running.
    """
    apart = recording.apart()
    modules = ModuleSiteObserver(apart)
    embeddings = EvaluationEmbeddings(apart, EmbeddingSides(apart, modules))
    readings = LossReadings(apart, embeddings, LossPasses(apart, scale), scale, backward)
    written = WrittenEvaluationLosses(apart, readings)
    losses = (
        LossObserver(apart, readings),
        written,
        PlainLossObserver(apart, readings),
        SigmoidLossObserver(apart, readings),
    )
    all_of_them = (apart.sources, modules, embeddings, *losses, AnswerObserver(apart))
    return EvaluationObservers(apart, embeddings, written, all_of_them)


def _of_evaluation(
    sources: TensorSources, written: WrittenEvaluationLosses, handlers: list[FunctionHandler]
) -> FunctionHandler:
    def handle(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = arguments_in(args, kwargs)
        if func is functional.one_hot or sources.sources(given) or written.has_labels(given):
            for handler in handlers:
                handler(func, args, kwargs, result)

    return handle
