"""Steps of optimizers: whose they are, whether they are steps of their own, and which parameters can be looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils.hooks import RemovableHandle

from edgeglass_diag.record.observer import OptimizerNumbers, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign
from edgeglass_diag.record.window_clock import WindowClock, is_capturing
from edgeglass_diag.sites import Coverage, ParameterSite

STEP_CODE = Optimizer.profile_hook_step(len).__code__
"""Code of the wrapper that torch puts around the step of every optimizer, and in which it calls the hooks."""


class StepHooks:
    """Global hooks around the steps of all optimizers.

    Their ids are known before they are in place, so that they can be taken away whenever Ctrl-C comes.

    Args:
        before: called before each step, with the optimizer and the arguments; may return others.
        after: called after each step.
    """

    def __init__(self, before: Callable[..., Any], after: Callable[..., Any]) -> None:
        self._before, self._after = before, after
        self._handle_before = RemovableHandle(_global_optimizer_pre_hooks)
        self._handle_after = RemovableHandle(_global_optimizer_post_hooks)

    def attach(self) -> None:
        """Put the hooks in place."""
        _global_optimizer_pre_hooks[self._handle_before.id] = self._before
        _global_optimizer_post_hooks[self._handle_after.id] = self._after

    def remove(self) -> None:
        """Take the hooks away."""
        self._handle_before.remove()
        self._handle_after.remove()


def steps_elsewhere(clock: WindowClock) -> bool:
    """Return whether a step that begins here is none of the watch's: of a forked copy, another thread, a graph."""
    return clock.is_forked or is_capturing() or not clock.thread.begins_step()


def stepped_elsewhere(clock: WindowClock) -> bool:
    """Return whether a step that was taken here is none of the watch's."""
    return clock.is_forked or is_capturing() or not clock.thread.steps()


def is_nested(optimizer: Optimizer) -> bool:
    """Return whether this step was called by another step of the same optimizer, as a subclass calls ``super()``'s."""
    steps = 0
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is STEP_CODE and frame.f_locals.get("self") is optimizer:
            steps += 1
        frame = frame.f_back
    return steps > 1


def then_once(closure: Callable[..., Any], after: Callable[[], object]) -> Callable[..., Any]:
    """Return the closure with ``after`` called when it has returned for the first time."""
    calls = 0

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = closure(*args, **kwargs)
        calls += 1
        if calls == 1:
            after()
        return result

    return watched


def step_of(optimizer: Optimizer, numbers: OptimizerNumbers, recording: Recording) -> OptimizerStep:
    """Return the step that an optimizer is about to take, with the parameters whose values can be read."""
    held, moving = [], []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if is_foreign(parameter) or (gradient is not None and is_foreign(gradient)):
                site = ParameterSite(path=recording.naming.parameter(parameter))
                recording.sites.cannot_observe(site, Coverage.FOREIGN_TENSOR)
                continue
            held.append(parameter)
            if gradient is not None:
                moving.append(parameter)
    return OptimizerStep(optimizer, numbers.number(optimizer), recording.clock.step, held, moving)
