"""How many samples the model is given in a window."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.recording import Recording


class GivenBatches(Observer):
    """Knows the sizes of the batches that models are given in training; reads nothing.

    Args:
        recording: state of the watch.

    Attributes:
        sizes: first dimensions of what models were given in this window.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.sizes: set[int] = set()

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Note how many samples a model is given."""
        if len(self._recording.stack.frames) == 1 and outermost.is_training:
            self.sizes |= {len(given) for given in tensors_in(arguments) if _has_samples(given)}

    def forget(self) -> None:
        """Forget the batches of the window."""
        self.sizes.clear()


def _has_samples(given: Tensor) -> bool:
    """Return whether a tensor may have samples; of numbers of two rows each is an end, as of the edges of a graph."""
    least = 1 if given.is_floating_point() else 2
    return not given.is_nested and given.dim() > 0 and len(given) > least
