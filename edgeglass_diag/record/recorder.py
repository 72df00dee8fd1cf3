"""The life of the windows: hooks are in place where the schedule says so, and each window is handed on at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from edgeglass_diag.record.attention_inputs import AttentionInputObserver
from edgeglass_diag.record.attention_layout import LOGITS
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
from edgeglass_diag.record.rounds import about_to_step, held_by
from edgeglass_diag.record.snapshots import PendingEmbeddings
from edgeglass_diag.record.window_clock import WindowClock
from edgeglass_diag.record.window_ends import WindowEnds
from edgeglass_diag.signals.parameters import OPTIMIZER_SKIPPED
from edgeglass_diag.sites import Coverage, Kind, RecorderSite


class Recorder:
    """Observes whatever trains in this process between ``__enter__`` and ``__exit__``::

        with Recorder(schedule, sink):          # window 0 begins: hooks attached, provenance on
            build the model                     #   each write to a parameter is noted
            for batch in data:
                forward, backward, clip         #   observers measure, if this window is recorded
                optimizer.step()                #   gradients before, updates after; window goes to the sink
                                                # the next window begins: hooks attached or not

    Steps are those of the optimizer that steps first, and of those that step together with it; where none of torch
    steps, the writes of other code to weights that a backward pass gave gradients. A step that a GradScaler skips ends
    a window too. With a closure, which has the forward pass inside, gradients are read when it has returned
    for the first time. No random number is drawn; what training computes stays as it is.

    Args:
        schedule: step -> whether its window is recorded.
        sink: takes each recorded window, in the training thread.
        attention_logits: the most logits that are looked at per attention and call; all where None.
        embeddings: takes the embeddings of some pairs at a few steps; none are kept where None.
        operands: whether ``operands`` collects what attention logits are made of, for an inspection at init.
    """

    def __init__(
        self,
        schedule: Callable[[int], bool],
        sink: Callable[[PendingWindow], None],
        *,
        attention_logits: int | None = LOGITS,
        embeddings: Callable[[PendingEmbeddings], None] | None = None,
        operands: bool = False,
    ) -> None:
        self._clock = WindowClock(schedule)
        recording = self._recording = Recording(self._clock)
        self._backward = backward = BackwardState()
        self._observers = make_observers(
            recording,
            backward,
            skipped=self._after_skipped_step,
            begin_step=lambda step: self._dispatch.before_step(step),
            attention_logits=attention_logits,
            embedding_sink=embeddings,
            with_inputs=operands,
        )
        self.boundary = recording.boundary
        self._dispatch = Dispatch(self._observers.all, self.boundary)
        self._functions = FunctionMode(recording)
        self._functions.observe_evaluations(self._observers.evaluated.functions)
        self._functions.observe_for(self._observers.all)
        self._sources = EventSources(self.boundary)
        evaluations, evaluated = self._observers.evaluations, self._observers.evaluated
        modules = ModuleHooks(
            recording,
            self._dispatch,
            self._functions,
            self._sources,
            self._pass_begins,
            evaluations,
            Dispatch((*evaluated.all, evaluations), self.boundary),
        )
        self._awaited = AwaitedEvaluations(self._clock, modules, evaluations)
        self._compiled = CompiledModules(self.boundary, modules, self._sources)
        scale, seen = self._observers.scale, (self._functions, modules, self._observers.all)
        self._between = BetweenPasses(self._observers.by_hand, self._sources, *seen, self._after_step_by_hand)
        passes = self._passes = BackwardPatch(recording, self._dispatch, backward, self._between)
        for source in (modules, self._functions, passes, scale.while_recorded):
            self._sources.add(source)
        self._steps, self._room = StepHooks(self._before_step, self._after_step), modules.room
        self._building = ModelBuilding(recording, self._observers, self._functions, self._resume)
        removable = (passes.patch, scale.while_recorded, scale.always, self._compiled, self._steps, self._building)
        self._removals = (self._awaited.remove, *(part.remove for part in removable), self._room.take_back)
        self._numbers, self._begun = OptimizerNumbers(), dict[int, OptimizerStep]()
        self._ends = WindowEnds(recording, self._dispatch, self._observers, sink)
        self._records = False  # this window

    @property
    def step(self) -> int:
        """The step whose window has begun: the number of optimizer steps so far."""
        return self._clock.step

    @property
    def training_thread(self) -> threading.Thread | None:
        """The thread that is watched, None where none is known or it has ended."""
        return self._clock.thread.living

    @property
    def operands(self) -> AttentionInputObserver | None:
        """What attention logits are made of, None unless asked for."""
        return self._observers.inputs

    @entry("recorder")
    def follow(self, optimizer: Optimizer) -> None:
        """End windows with the steps of this optimizer, from its first one on; the others fall into its windows."""
        self._clock.follow(optimizer)
        self._observers.evaluations.trained.note(held_by(optimizer))

    @property
    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """All parameters of the models that ran so far, with their names."""
        return self._recording.naming.named_parameters

    @entry("recorder")
    def name_model(self, model: nn.Module) -> None:
        """Name a model's modules before it runs."""
        self._recording.naming.adopt(model)

    def leave_step(self, optimizer: Optimizer) -> None:
        """End the window as after a step that changed nothing, where a step has begun and is not going to be taken."""
        self._after_step(optimizer, (), {})

    def __enter__(self) -> Recorder:
        try:
            self._install()
            return self
        except BaseException:
            self._take_away()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end_watch()
            self._say_failures()
        except BaseException:
            self._take_away()
            raise

    @entry("recorder", always=True)
    def abandon(self) -> None:
        """Cease to observe and forget the window that has begun."""
        self._take_away()
        self._recording.buffer.clear()

    @entry("recorder")
    def _install(self) -> None:
        try:
            self._steps.attach()
            self._observers.scale.always.attach()
            self._compiled.attach()
            self._passes.patch.attach()
            self._building.attach()
        except Exception:
            self._take_away()
            raise
        self._records = self._clock.is_recorded
        if self._records:
            self._resume()

    def _take_away(self) -> None:
        self.boundary.take_away(self._sources.detach, *self._removals)

    @entry("recorder", always=True)
    def _end_watch(self) -> None:
        self._between.pass_begins()
        self._take_away()
        differentiated = self._backward.has_run or self._observers.by_hand.has_differentiated
        if differentiated and self.step == 0 and not self._clock.round.has_begun:
            self._recording.sites.cannot_observe(RecorderSite(path="steps"), Coverage.NO_OPTIMIZER)
        if not self.boundary.is_closed and self.step == 0 and len(self._recording.buffer):
            self._end_window()
        elif not self.boundary.is_closed and self._records and self._observers.evaluations.has_passes:
            self._ends.end_evaluation()
        with self._recording.measuring("embeddings", Kind.RECORDER):
            self._observers.snapshots.hand_over(last=True)

    @entry("recorder", always=True)
    def _say_failures(self) -> None:
        self._take_away()  # what a failure has left
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
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
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
                self._clock.round.expect(about_to_step(optimizer, self.named_parameters))
            if self._clock.ends_with(optimizer):
                self._end_window_of_step()
        finally:
            self._backward.end_outside()
            self._recording.stack.frames.clear()  # what Ctrl-C in a forward pass has left there
            if self._records:
                self._resume()
            else:
                self._awaited.wait()

    def _end_window_of_step(self) -> None:
        clock = self._clock
        try:
            if self._records:
                self._end_window()
        finally:
            if self._observers.provenance.is_open:
                self._observers.provenance.end()
                self._functions.observe_for(self._observers.all)
            clock.advance()
            self._records = clock.is_recorded

    def _pass_begins(self, module: nn.Module, training: bool) -> None:
        """End the window that waits for further optimizers, or for weights to be written to, as a model is called.

        A window that begins with an evaluation is recorded.
        """
        if self._awaited.opens(module, training=training):
            self._clock.open()
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
