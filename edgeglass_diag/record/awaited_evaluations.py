"""What is in place at the beginning of a window that is not recorded: an evaluation may come before the next step."""

from __future__ import annotations

from torch import nn

from edgeglass_diag.record.evaluation_passes import EvaluationObserver
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.window_clock import WindowClock

_APART = 10
"""Steps from one window that is recorded for its evaluation to the next, as between those of the default schedule."""
_OTHERS = 4
"""Calls of other models without gradients, as frozen towers, after which a window is given up."""
_PARTS = 3
"""Windows running in which what seemed an evaluation was part of a training step, after which none is waited for:
values that have left torch, as for a metric of numpy, may only seem to come back."""


class AwaitedEvaluations:
    """Has module hooks in place from a step to the first forward pass that tells whether an evaluation begins.

    The window is recorded where one does, from its beginning: nothing of its training has come yet. A pass with
    gradients takes the hooks away, and inside of a model that does not train there are none. Where evaluations turn
    out to be parts of training steps no more of them are waited for.

    Args:
        clock: tells which window it is.
        modules: the hooks, one for both.
        evaluations: knows which models train, and what the passes were.
    """

    def __init__(self, clock: WindowClock, modules: ModuleHooks, evaluations: EvaluationObserver) -> None:
        self._clock, self._modules, self._evaluations = clock, modules, evaluations
        self._is_open = self._is_over = False
        self._left = self._parts = 0

    def wait(self) -> None:
        """Begin to wait."""
        if not self._is_over and self._clock.step >= self._clock.opened + _APART:
            self._is_open, self._left = True, _OTHERS
            self._modules.attach()

    def window_ends(self) -> None:
        """Take note of what the window that ends has shown."""
        if self._evaluations.is_part_of_step:
            self._parts += 1
            self._is_over = self._parts == _PARTS
        elif self._evaluations.has_passes:
            self._parts = 0

    def remove(self) -> None:
        """Wait for no more of them."""
        self._is_over = True
        self.close()

    def close(self) -> None:
        """Take the hooks away."""
        if self._is_open:
            self._is_open = False
            self._modules.detach()

    def opens(self, module: nn.Module, *, training: bool) -> bool:
        """Return whether an evaluation begins with this call of a model, so that the window is to be recorded."""
        if not self._is_open:
            return False
        found = not training and self._evaluations.trained.has(module)
        if training or found or not self._left or not self._modules.rest(module):
            self.close()
        self._left -= 1
        return found
