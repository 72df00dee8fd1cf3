"""What is in place in a window that is not recorded, after a backward pass: weights may be written to by hand."""

from __future__ import annotations

from collections.abc import Callable

from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.observer import Observer, OptimizerStep
from edgeglass_diag.record.steps_by_hand import StepsByHand


class BetweenPasses:
    """Has the functions that write seen, and the next forward pass, as long as no optimizer of torch has stepped.

    Args:
        by_hand: follows the weights.
        sources: all of the watch, which are in place in windows that are recorded.
        functions: the mode, one for both.
        modules: the hooks, one for both.
        observers: of windows that are recorded.
        end_step: called with a step that has ended.
    """

    def __init__(
        self,
        by_hand: StepsByHand,
        sources: EventSources,
        functions: FunctionMode,
        modules: ModuleHooks,
        observers: tuple[Observer, ...],
        end_step: Callable[[OptimizerStep], None],
    ) -> None:
        self._by_hand, self._sources, self._observers, self._end_step = by_hand, sources, observers, end_step
        self._functions, self._modules = functions, modules
        self._is_open = False

    @property
    def is_needed(self) -> bool:
        """Whether weights may be written to by hand."""
        return self._by_hand.is_possible

    def optimizer_steps(self) -> None:
        """Cease for good: an optimizer of torch takes the steps."""
        if self._by_hand.is_possible:
            self.close()
            self._by_hand.end()
            self._functions.observe_for(self._observers)

    def backward_ended(self) -> None:
        """Begin to wait for weights to be written to."""
        self._by_hand.backward_ended(recorded=self._sources.attached)
        if self._by_hand.waits and not self._sources.attached:
            self._is_open = True
            self._functions.observe_for((self._by_hand,))
            self._functions.attach()
            self._modules.attach()

    def pass_begins(self) -> None:
        """End the step that was taken since the last backward pass, if one was."""
        self.close()
        step = self._by_hand.take()
        if step is not None:
            self._end_step(step)

    def close(self) -> None:
        """Take away what is not in place otherwise."""
        if self._is_open:
            self._is_open = False
            if not self._sources.attached:  # nor has a model been built since, from where on the window is recorded
                self._functions.detach()
                self._modules.detach()
            self._functions.observe_for(self._observers)
