"""Observes evaluations: passes of models that train, without gradients, that are no part of a training step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeglass_diag import site_paths
from edgeglass_diag.measures.activations import subset
from edgeglass_diag.record.batch_norms import follows, takes_statistics_anew
from edgeglass_diag.record.batches import given_to
from edgeglass_diag.record.evaluation_observers import EvaluationObservers
from edgeglass_diag.record.given_out import GivenOut
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.module_tree import modules, own_parameters
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.record.observer import Function, FunctionHandler, ModuleCall, Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_measurable
from edgeglass_diag.record.tensor_sources import TensorSources
from edgeglass_diag.record.trained_models import TrainedModels
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.evaluation import (
    EVALUATION_ACCURACY,
    EVALUATION_CHANCE,
    EVALUATION_GRAPH,
    EVALUATION_LOSS,
    EVALUATION_MAX,
    EVALUATION_MEAN,
    EVALUATION_MIN,
    EVALUATION_MODE,
    EVALUATION_NORM_MOVED,
    EVALUATION_PASSES,
    EVALUATION_SAMPLES,
    EVALUATION_STD,
    EVALUATION_WIDTH_LOSS,
)
from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_LEVEL, LOSS_VALUE, LOSS_WIDTH
from edgeglass_diag.signals.modes import MODE_TRAINING
from edgeglass_diag.sites import BatchSite, Kind

PASSES = 8
"""Evaluation passes of one model that are looked at in a window."""

_IN_EVALUATION: Mapping[Signal, Signal] = {
    LOSS_VALUE: EVALUATION_LOSS,
    LOSS_LEVEL: EVALUATION_CHANCE,
    LOSS_ACCURACY: EVALUATION_ACCURACY,
    LOSS_WIDTH: EVALUATION_WIDTH_LOSS,
}
"""Signals of training that are told of evaluation as well, under paths of their own."""

_OF_INPUTS = (EVALUATION_SAMPLES, EVALUATION_MEAN, EVALUATION_STD, EVALUATION_MIN, EVALUATION_MAX)


class EvaluationObserver(Observer):
    """Writes ``evaluation/*`` of windows in which a model that trains was called without gradients.

    That is no evaluation where what it gave out goes backward in the same window, by whatever functions: targets made
    by the trained model itself, cached embeddings (https://arxiv.org/abs/2101.06983), samples or negatives chosen by
    it. Nothing is told of such a window. A momentum teacher is held by no optimizer and none of these passes. Inputs
    are not told of where a pass is given what an earlier one gave out, as in generation.

    Args:
        recording: state of the watch.
        evaluated: what is observed in these passes.

    Attributes:
        trained: knows which models train, and in which mode.
        given_out: what models gave out without gradients.
    """

    def __init__(self, recording: Recording, evaluated: EvaluationObservers) -> None:
        self._recording, self._evaluated = recording, evaluated
        self.trained = TrainedModels()
        self._begun: Counter[int] = Counter()
        self._ended = 0
        self.given_out = GivenOut(recording.sources)
        self._is_fed_back = False
        self._with_graph: dict[int, str] = {}  # paths of models

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """The function that differentiates beside the backward pass."""
        return {torch.autograd.grad: self._note_gradients}

    @property
    def sources(self) -> TensorSources:
        """What tensors of an evaluation come from."""
        return self._evaluated.recording.sources

    def takes(self, module: nn.Module) -> bool:
        """Return whether an outermost call without gradients, which begins, is looked at.

        Not one by which BatchNorm's statistics are taken anew. As long as there is no optimizer, any model may be one
        that trains, which the step shows that ends the window.
        """
        if not self.trained.may_have(module) or takes_statistics_anew(module):
            return False
        self._begun[id(module)] += 1
        return self._begun[id(module)] <= PASSES

    def has_enough_of(self, module: nn.Module) -> bool:
        """Return whether as many passes of a model as are looked at have begun in this window."""
        return self._begun[id(module)] >= PASSES

    @property
    def has_passes(self) -> bool:
        """Whether the window has evaluation passes that were looked at."""
        return self._ended > 0

    @property
    def is_part_of_step(self) -> bool:
        """Whether something that goes backward in this window was made of what such a pass has given out."""
        return self.given_out.goes_backward(self._begun)

    def module_begins(self, outermost: Frame, arguments: tuple[object, ...]) -> None:
        """Note the mode of a model, and which BatchNorms follow the batches."""
        frame = self._recording.stack.frames[-1]
        if not outermost.is_evaluation:
            return
        add, module = self._evaluated.recording.buffer.add, frame.module
        if frame is outermost and frame.is_model:
            add(frame.path, EVALUATION_MODE, float(_is_in_training_mode(module)))
        if isinstance(module, _BatchNorm):
            add(frame.path, EVALUATION_NORM_MOVED, float(follows(module)))

    def module_ends(self, call: ModuleCall) -> None:
        """Mark what an evaluation pass gives out, and measure the pictures that it was given."""
        frame = call.frame
        if not (call.is_outermost and frame.is_model):
            return
        if not frame.is_evaluation:
            self.trained.note_mode(frame.module)
            return
        self._ended += 1
        self._note_graph(call)
        given = given_to(call)
        self._is_fed_back = self._is_fed_back or self.given_out.is_behind((value for _, value in given), self._begun)
        for name, value in given:
            self._measure(call.frame.path, name, value)
        self.given_out.add(call.frame.module, call.made)

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Keep what goes backward."""
        if self.given_out:
            self.given_out.note_backward(tensors)
            self._look_back()

    def before_step(self, step: OptimizerStep) -> None:
        """Note which parameters an optimizer holds."""
        self.trained.note(step.held)

    def window_ends(self) -> None:
        """Write what was seen, where it is an evaluation."""
        if self._recording.clock.is_mistaken:
            for path in self._with_graph.values():
                self._recording.buffer.add(path, MODE_TRAINING, 0.0)
        if not self.has_passes or self.trained.was_mistaken or self.is_part_of_step:
            return
        buffer = self._recording.buffer
        left_out = _OF_INPUTS if self._is_fed_back else ()
        self._evaluated.recording.buffer.hand_to(buffer, _IN_EVALUATION, left_out)
        self._evaluated.embeddings.write(buffer)
        buffer.add("", EVALUATION_PASSES, float(self._ended))

    def forget(self) -> None:
        """Forget the passes of the window."""
        self._begun.clear()
        self.given_out.clear()
        self._with_graph.clear()
        self.trained.forget_candidates()
        self._ended, self._is_fed_back = 0, False
        self.trained.forget()
        self._evaluated.recording.buffer.clear()
        self._evaluated.recording.sites.handed_on()
        for observer in self._evaluated.all:
            observer.forget()

    def _note_graph(self, call: ModuleCall) -> None:
        has_graph = any(tensor.requires_grad for tensor in call.made)
        self._evaluated.recording.buffer.add(call.frame.path, EVALUATION_GRAPH, float(has_graph))
        if has_graph:
            self._with_graph[id(call.frame.module)] = call.frame.path

    def _look_back(self) -> None:
        """Take passes with gradients that go backward for what they are from now on: parts of a training step."""
        if self.given_out.goes_backward(self._with_graph):
            self.trained.in_either_mode = self._recording.clock.is_mistaken = True

    def _note_gradients(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """``torch.autograd.grad`` differentiates."""
        self.backward_begins(tensors_in(args[:1] or kwargs.get("outputs")), ())

    def _measure(self, module: str, name: str, value: Tensor) -> None:
        site = self._as_in_training(BatchSite(path=site_paths.child(module, name), shape=tuple(value.shape[1:])))
        if not (site.is_picture and value.is_floating_point() and is_measurable(value) and len(value)):
            return
        with self._recording.measuring(site.path, Kind.BATCH):
            deviation, mean = torch.std_mean(subset(value.detach()).float(), correction=0)
            add = self._evaluated.recording.buffer.add
            add(site.path, EVALUATION_SAMPLES, float(len(value)))
            add(site.path, EVALUATION_MEAN, mean)
            add(site.path, EVALUATION_STD, deviation)
            for signal, end in zip((EVALUATION_MIN, EVALUATION_MAX), torch.aminmax(value.detach()), strict=True):
                add(site.path, signal, end)

    def _as_in_training(self, site: BatchSite) -> BatchSite:
        """Return the input of training that this is: of a part of a model that is called alone, the one of its shape.

        A tower takes the pictures that the whole model is called with in training.
        """
        known = [other for other in self._recording.sites.known(Kind.BATCH) if isinstance(other, BatchSite)]
        alike = [other for other in known if other.shape == site.shape]
        return alike[0] if len(alike) == 1 and all(other.path != site.path for other in known) else site


def _is_in_training_mode(model: nn.Module) -> bool:
    """Return whether a part of a model that has weights is in training mode; a loss around it may be in another."""
    return any(part.training for part in modules(model) if own_parameters(part))
