"""The source of the events ``module_begins`` and ``module_ends``: global forward hooks, and who runs inside whom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import nn
from torch.fx import GraphModule
from torch.nn.modules import module as hooks
from torch.utils.hooks import RemovableHandle

from edgeglass_diag.record.boundary import entry, measuring, question
from edgeglass_diag.record.dispatch import Dispatch
from edgeglass_diag.record.evaluation_passes import EvaluationObserver
from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.module_tree import has_parameters, is_compiled, parameters
from edgeglass_diag.record.nested import arguments_in, has_foreign, tensors_in
from edgeglass_diag.record.observer import ModuleCall
from edgeglass_diag.record.profiler_ranges import FORWARD, FORWARD_WITHOUT_GRADIENTS, span
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.recursion import FRAMES_PER_MODULE, MAX_DEPTH, RecursionRoom
from edgeglass_diag.record.window_clock import WindowClock
from edgeglass_diag.sites import Coverage, Kind, ModuleSite

_FAST_PATHS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
"""Modules that choose another kernel where no function mode is active, and must choose it as they would unwatched."""


def _is_resting(clock: WindowClock) -> bool:
    """Return whether nothing can be observed, or a call is not looked into; torch.compile follows the former alone."""
    return clock.cannot_observe_now or clock.resting is not None


class ModuleHooks:
    """Global forward hooks. They keep their ids over all windows, or torch.compile would compile anew for each.

    Args:
        recording: state of the watch.
        dispatch: takes the events.
        functions: the mode that is taken off where torch chooses a kernel by whether there is one.
        sources: all of the watch, which a window with too many forward passes, or too deep ones, takes away.
        pass_begins: called as a model is called that no other module runs, with whether it has gradients; ends a window
            that waited for it.
        evaluations: knows which calls without gradients are looked at.
        evaluated: takes the events of those.

    Attributes:
        room: what a model that is too deep gets of call stack.
        is_attached: whether the hooks are in place, except while held.
        is_held: whether compiled code runs, which must find none.
    """

    def __init__(
        self,
        recording: Recording,
        dispatch: Dispatch,
        functions: FunctionMode,
        sources: EventSources,
        pass_begins: Callable[[nn.Module, bool], None],
        evaluations: EvaluationObserver,
        evaluated: Dispatch,
    ) -> None:
        self.boundary = recording.boundary
        self._recording, self._dispatch, self._functions, self._sources = recording, dispatch, functions, sources
        self._pass_begins, self._evaluations, self._evaluated = pass_begins, evaluations, evaluated
        self._frames, self._clock = recording.stack.frames, recording.clock
        self.room = RecursionRoom()
        self._models: Facts[nn.Module, bool] = Facts()  # transforms and losses are none
        # torch has no function that puts a hook back under its old id, and its own removal forgets the keywords' entry.
        before = RemovableHandle(hooks._global_forward_pre_hooks).id
        after = RemovableHandle(hooks._global_forward_hooks).id
        self._entries: dict[tuple[str, int], Any] = {
            ("_global_forward_pre_hooks", before): self._enter,
            ("_global_forward_hooks", after): self._leave,
            ("_global_forward_hooks_with_kwargs", after): True,
            ("_global_forward_hooks_always_called", after): True,
        }
        self.is_attached = self.is_held = False

    def attach(self) -> None:
        """Put the hooks in place."""
        self._clock.resting = None  # Ctrl-C in a call that was not looked into has left it there
        if not self.is_attached:
            self.is_attached = True
            self._put()

    def detach(self) -> None:
        """Take the hooks away."""
        if self.is_attached:
            self._take()
            self.is_attached = False

    def hold(self) -> None:
        """Have no hooks in place until ``release``, whether they are attached or not."""
        self.is_held = True
        if self.is_attached:
            self._take()

    def release(self) -> None:
        """Put the hooks back where they are attached."""
        self.is_held = False
        if self.is_attached:
            self._put()

    def _put(self) -> None:
        if not self.is_held:
            for (name, identity), value in self._entries.items():
                hooks.__dict__[name][identity] = value

    def _take(self) -> None:
        for name, identity in self._entries:
            hooks.__dict__[name].pop(identity, None)

    def rest(self, module: nn.Module) -> bool:
        """Look into nothing until a call of a model, which begins, is over: it runs as it would unwatched.

        The hooks stay in place and do nothing; no other hook tells when a call has ended, Ctrl-C leaves none behind,
        and torch chooses its kernels by those of the model itself. Compiled code goes by all hooks there are: of that
        return False, and do nothing.
        """
        if is_compiled(module):
            return False
        self._functions.detach()
        self._clock.resting = module
        return True

    @entry("modules", unless=_is_resting)
    def _enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.enter(module, arguments)

    def _leave(self, module: nn.Module, arguments: tuple[Any, ...], *rest: Any) -> None:
        if self._matters(module) is not False:  # None where it could not be told
            self._left(module, arguments, *rest)

    @question("modules")
    def _matters(self, module: nn.Module) -> bool:
        """Return whether a module that has run can be observed and belongs to no call that is not looked into."""
        clock = self._clock
        return not clock.cannot_observe_now and (clock.resting is None or clock.resting is module)

    @entry("modules")
    def _left(self, module: nn.Module, arguments: tuple[Any, ...], *rest: Any) -> None:
        if self._clock.resting is not None:
            self._clock.resting = None
            if self._sources.attached:
                self._functions.attach()
                self._functions.doze(True)
            return
        # After an exception torch calls this without the keywords and with no output.
        keywords, output = rest if len(rest) == 2 else ({}, None)
        self.leave(module, arguments, keywords, output)

    def enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Push a module that begins to run."""
        outer, gradients = self._frames[-1] if self._frames else None, self.boundary.gradients
        thread = self._clock.thread
        if outer is None:
            thread.begins_pass(training=gradients)
        if thread.is_another:  # since this thread was let in
            return
        is_model = outer is not None or self._is_model(module)
        trains = (
            outer.is_training if outer is not None else gradients and not self._has_graph(module, is_model=is_model)
        )
        if outer is None and not self._begins_recorded_pass(module, trains, is_model=is_model):
            return
        evaluates = outer.is_evaluation if outer is not None else self._begin_pass(module, trains, is_model=is_model)
        training = trains and not _is_compiled_code(module)
        frame = Frame(module, "", training, is_model=is_model, is_evaluation=evaluates)
        self._frames.append(frame)
        if outer is None:
            frame.trace_range = ExitStack()
            frame.trace_range.enter_context(span(FORWARD if training else FORWARD_WITHOUT_GRADIENTS))
        if _may_be_fused(module, arguments, gradients=gradients) and not any(f.hides_functions for f in self._frames):
            frame.hides_functions = True
            self._functions.detach()
        if len(self._frames) > MAX_DEPTH:
            self._leave_out()
            return
        if training:
            frame.is_training = False
            with measuring(self.boundary, type(module).__name__, Kind.MODULE):
                frame.path = self._recording.stack.call_path(self._recording.naming.path(module))
                frame.is_training = True
        elif evaluates:
            with measuring(self.boundary, type(module).__name__, Kind.MODULE):
                frame.path = self._recording.stack.call_path(self._recording.naming.path(module))
        self._dispatch.module_begins(self._frames[0], arguments)

    def _has_graph(self, module: nn.Module, *, is_model: bool) -> bool:
        """Return whether a call with gradients is one of an evaluation.

        It is in evaluation mode then, and the model trains in training mode. Once such a call has gone backward, as in
        a step that finds adversarial examples or that freezes BatchNorm, none is. A loss goes with the model before it.
        """
        return self._evaluations.trained.leaves_training(module) if is_model else self._recording.stack.is_after_graph

    def _begin_pass(self, module: nn.Module, trains: bool, *, is_model: bool) -> bool:
        """Begin an outermost forward pass that is recorded; return whether it is one of an evaluation."""
        stack, has_graph = self._recording.stack, self.boundary.gradients and not trains
        evaluates = not trains and (self._evaluations.takes(module) if is_model else stack.is_evaluation)
        stack.begin_pass(module, is_model=is_model, is_evaluation=evaluates, has_graph=has_graph)
        return evaluates

    def _begins_recorded_pass(self, module: nn.Module, trains: bool, *, is_model: bool) -> bool:
        """Return whether an outermost forward pass that begins is recorded: beyond the limit the window is not."""
        clock = self._clock
        if is_model:
            self._pass_begins(module, trains)
        if not self._sources.attached:
            return False
        self._functions.doze(False)
        if not trains:
            return not (is_model and self._evaluations.has_enough_of(module) and self.rest(module))
        clock.forwards += is_model
        if not clock.is_whole:
            self._sources.detach()
        return clock.is_whole

    def _leave_out(self) -> None:
        """Cease to follow a model that is too deep; its window is not recorded."""
        self._clock.is_too_deep = True
        self.room.give(len(self._frames) * FRAMES_PER_MODULE)
        while self._frames:
            self._pop(self._frames[-1].module)
        self._sources.detach()

    def _is_model(self, module: nn.Module) -> bool:
        """Return whether a module has parameters; transforms of pictures and losses have none."""
        known = self._models.get(module)
        if known is None:
            self._models.set(module, known := has_parameters(module))
        return known

    def leave(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        """Pop a module that has run; ``output`` is None where it raised."""
        frame = self._pop(module)
        if frame is None or output is None:
            return
        if not (frame.is_training or frame.is_evaluation):
            if not self._frames and frame.is_model and not self.boundary.gradients:
                self._evaluations.given_out.add(module, tensors_in(output))
            return
        if has_foreign((output,)):
            site = ModuleSite(path=frame.path, class_name=type(module).__name__)
            self._recording.sites.cannot_observe(site, Coverage.FOREIGN_TENSOR)
            return
        call = None
        with measuring(self.boundary, frame.path, Kind.MODULE):
            call = self._call(frame, arguments, keywords, output)
        if call is None:
            return
        if frame.is_evaluation:
            self._evaluated.module_ends(call)
        elif frame.is_model or any(tensor.requires_grad for tensor in call.given):
            self._dispatch.module_ends(call)

    def _call(self, frame: Frame, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> ModuleCall:
        given = arguments_in(arguments, keywords)
        known = {id(tensor) for tensor in given}
        made = [tensor for tensor in tensors_in(output) if tensor.is_floating_point() and id(tensor) not in known]
        sources = self._evaluations.sources if frame.is_evaluation else self._recording.sources
        fresh = [tensor for tensor in made if not sources.is_output(tensor)]
        return ModuleCall(frame, arguments, keywords, given, made, fresh, not self._frames)

    def _pop(self, module: nn.Module) -> Frame | None:
        """Take a module from the stack, and those that an exception has left above it."""
        frames = self._frames
        if not frames or (frames[-1].module is not module and all(frame.module is not module for frame in frames)):
            return None
        while True:
            frame = self._frames.pop()
            if frame.hides_functions:
                self._functions.attach()
            if frame.trace_range is not None:
                frame.trace_range.close()
                self._clock.thread.ends_pass()
            if frame.module is module:
                return frame


def _is_compiled_code(module: nn.Module) -> bool:
    """Return whether a module is what torch.compile made of a user's code, run by a compiler that keeps Python."""
    return isinstance(module, GraphModule) and (
        type(module).__name__ == "<lambda>" or "dynamo_compile_id" in module.meta
    )


def _may_be_fused(module: nn.Module, arguments: tuple[Any, ...], *, gradients: bool) -> bool:
    """Return torch's own condition for its fast path: evaluation, and nothing in it asks for a gradient."""
    if not isinstance(module, _FAST_PATHS) or module.training:
        return False
    involved = [*parameters(module), *tensors_in(arguments)]
    return not gradients or not any(tensor.requires_grad for tensor in involved)
