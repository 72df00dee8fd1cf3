"""Where windows begin and end: an optimizer steps, weights are written to by hand, or a model is called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from edgeglass_diag.record.awaited_evaluations import AwaitedEvaluations
from edgeglass_diag.record.backward_patch import BackwardPatch
from edgeglass_diag.record.backward_state import BackwardState
from edgeglass_diag.record.between_passes import BetweenPasses
from edgeglass_diag.record.boundary import entry
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.compiled import CompiledModules
from edgeglass_diag.record.dispatch import Dispatch
from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.model_building import ModelBuilding
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.observer import OptimizerNumbers, OptimizerStep
from edgeglass_diag.record.observer_list import make_observers
from edgeglass_diag.record.optimizer_steps import (
    StepHooks,
    is_nested,
    step_of,
    stepped_elsewhere,
    steps_elsewhere,
    then_once,
)
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.rounds import about_to_step
from edgeglass_diag.record.snapshots import PendingEmbeddings
from edgeglass_diag.record.window_ends import WindowEnds
from edgeglass_diag.signals.parameters import OPTIMIZER_SKIPPED
from edgeglass_diag.sites import Coverage, Kind, RecorderSite


class Windows:
    """Has what observes in place where the schedule says so, and ends each window with the step that it led to.

    Args:
        recording: state of the watch.
        sink: takes each recorded window, in the training thread.
        attention_logits: the most logits that are looked at per attention and call; all where None.
        embeddings: takes the embeddings of some pairs at a few steps; none are kept where None.
        samples: whether pictures and captions of the pairs are kept with them.
        operands: whether what attention logits are made of is collected.

    Attributes:
        observers: of the watch.
    """

    def __init__(
        self,
        recording: Recording,
        sink: Callable[[PendingWindow], None],
        *,
        attention_logits: int | None,
        embeddings: Callable[[PendingEmbeddings], None] | None,
        samples: bool,
        operands: bool,
    ) -> None:
        self._recording, self._clock, self.boundary = recording, recording.clock, recording.boundary
        self._backward = backward = BackwardState()
        self.observers = observers = make_observers(
            recording,
            backward,
            skipped=self._after_skipped_step,
            begin_step=lambda step: self._dispatch.before_step(step),
            attention_logits=attention_logits,
            embedding_sink=embeddings,
            with_samples=samples,
            with_inputs=operands,
        )
        self._dispatch = Dispatch(observers.all, self.boundary)
        self._functions = FunctionMode(recording)
        self._functions.observe_evaluations(observers.evaluated.functions, observers.evaluated.concerns)
        self._functions.observe_for(observers.all)
        self._sources = EventSources(self.boundary)
        modules = ModuleHooks(
            recording,
            self._dispatch,
            self._functions,
            self._sources,
            self._pass_begins,
            observers.evaluations,
            Dispatch((*observers.evaluated.all, observers.evaluations), self.boundary),
        )
        self._awaited = AwaitedEvaluations(self._clock, modules, observers.evaluations)
        seen = (self._functions, modules, observers.all)
        self._between = BetweenPasses(observers.by_hand, self._sources, *seen, self._after_step_by_hand)
        passes = BackwardPatch(recording, self._dispatch, backward, self._between)
        for source in (modules, self._functions, passes, observers.scale.while_recorded):
            self._sources.add(source)
        self._room = modules.room
        self._always = (
            StepHooks(self._before_step, self.after_step),
            observers.scale.always,
            CompiledModules(self.boundary, modules, self._functions, self._sources),
            passes.patch,
            ModelBuilding(recording, observers, self._functions, self._resume),
        )
        self._removals = (
            self._awaited.remove,
            observers.scale.while_recorded.remove,
            *(part.remove for part in self._always),
            self._room.take_back,
        )
        self._numbers, self._begun = OptimizerNumbers(), dict[int, OptimizerStep]()
        self._ends = WindowEnds(recording, self._dispatch, observers, sink)
        self._records = False  # this window

    def begin(self) -> None:
        """Begin the first window; raise where something cannot be put in place."""
        for part in self._always:
            part.attach()
        self._records = self._clock.is_recorded
        if self._records:
            self._resume()

    def take_away(self) -> None:
        """Take away all that is in place."""
        self.boundary.take_away(self._sources.detach, *self._removals)

    def end(self) -> None:
        """End the last window: of a training that took no step, or of the evaluations behind the last one."""
        self._between.pass_begins()
        self.take_away()
        differentiated = self._backward.has_run or self.observers.by_hand.has_differentiated
        if differentiated and self._clock.step == self._clock.first and not self._clock.round.has_begun:
            self._recording.sites.cannot_observe(RecorderSite(path="steps"), Coverage.NO_OPTIMIZER)
        if not self.boundary.is_closed and self._clock.step == self._clock.first and len(self._recording.buffer):
            self._end_window()
        elif not self.boundary.is_closed and self._records and self.observers.evaluations.has_passes:
            self._ends.end_evaluation()
        with self._recording.measuring("embeddings", Kind.RECORDER):
            self.observers.snapshots.hand_over(last=True)
        self._recording.buffer.clear()
        self._dispatch.forget()

    def say_failures(self) -> None:
        """Hand on what has failed since the last window."""
        self._ends.say_failures()

    @entry("optimizer", unless=steps_elsewhere)
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        self._recording.leave_former_thread()
        self._between.optimizer_steps()
        if not self._records or is_nested(optimizer):
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if callable(closure):
            watched = then_once(closure, partial(self._begin_step, optimizer))
            return ((args[0], watched, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": watched})
        self._begin_step(optimizer)
        return None

    @entry("optimizer")
    def _begin_step(self, optimizer: Optimizer) -> None:
        self._sources.detach()
        self._begun[id(optimizer)] = step = step_of(optimizer, self._numbers, self._recording)
        self._dispatch.before_step(step)

    @entry("optimizer", unless=stepped_elsewhere)
    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Take note of a step that has ended, and end the window with it."""
        if is_nested(optimizer):
            return
        self._recording.leave_former_thread()
        try:
            self._clock.stepped(optimizer)
            if self._records:
                self._sources.detach()
                begun = self._begun.pop(id(optimizer), None)
                if begun is not None:
                    self._dispatch.after_step(begun)
        finally:
            self._end_step(optimizer)

    def _after_skipped_step(self, optimizer: Optimizer) -> None:
        if self._records:
            self._sources.detach()
            self._recording.buffer.add("", OPTIMIZER_SKIPPED, 1.0)
        self._end_step(optimizer)

    def _end_step(self, optimizer: Optimizer) -> None:
        try:
            if self._records and not self._clock.round.has_begun:
                self._clock.round.expect(about_to_step(optimizer, self._recording.naming.named_parameters))
            if self._clock.ends_with(optimizer):
                self._end_window_of_step()
                if not self._records:
                    self._awaited.wait()
        finally:
            self._backward.end_outside()
            self._recording.stack.frames.clear()  # what Ctrl-C in a forward pass has left there
            if self._records:
                self._resume()

    def _end_window_of_step(self) -> None:
        clock = self._clock
        try:
            if self._records:
                self._end_window()
        finally:
            if self.observers.provenance.is_open:
                self.observers.provenance.end()
                self._functions.observe_for(self.observers.all)
            clock.advance()
            self._records = clock.is_recorded

    def _pass_begins(self, module: nn.Module, training: bool) -> None:
        """End the window that waits for further optimizers, or for weights to be written to, as a model is called.

        A window that begins with an evaluation is recorded.
        """
        if self._awaited.opens(module, training=training):
            self._clock.opened = self._clock.step
            self._records = True
            self._resume()
        if not self._clock.round.is_open:
            self._between.pass_begins()
        elif training:
            self._clock.round.give_up()
            self._end_window_of_step()
            if not self._records:
                self._sources.detach()

    def _after_step_by_hand(self, step: OptimizerStep) -> None:
        self._clock.thread.steps()
        try:
            if self._records:
                self._dispatch.after_step(step)
            if step.number == 0:
                self._end_window_of_step()
        finally:
            self._backward.end_outside()
            if self._records:
                self._resume()
            else:
                self._sources.detach()

    def _resume(self) -> None:
        """Observe again; a window that cannot be observed as a whole is none."""
        self._sources.attach()
        self._records = self._sources.attached

    def _end_window(self) -> None:
        try:
            self._awaited.window_ends()
            self._ends.end()
        finally:
            self._begun.clear()
            self._room.take_back()
