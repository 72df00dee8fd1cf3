"""Norms of the gradients of a window over all optimizers that stepped in it, and what each of them holds."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeglass_diag import site_paths
from edgeglass_diag.record.observer import OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.parameters import (
    GRADIENT_CLIP_FACTOR,
    GRADIENT_CLIPPED_SCALED,
    GRADIENT_NORM,
    GRADIENT_NORM_CLIPPED,
    OPTIMIZER_HELD,
    OPTIMIZER_MOVING,
)


class WindowNorms:
    """Norms of one window.

    An optimizer that steps several times counts with the mean of its squares, as each parameter has one gradient a
    step, and one that wraps another (both step with the same parameters) not at all. Where there are several
    optimizers, each has readings of its own as well.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._squares: dict[int, list[Tensor]] = {}
        self._counts: dict[int, tuple[int, int]] = {}
        self._owners: dict[int, int] = {}
        self._scaled: set[int] = set()
        self._several = False

    def count(self, step: OptimizerStep) -> None:
        """Take note of what an optimizer holds, and how much of it has a gradient."""
        self._several = self._several or step.number > 0
        if all(self._owners.setdefault(id(p), step.number) == step.number for p in step.held):
            self._counts[step.number] = (len(step.held), len(step.moving))

    def add(self, number: int, before: Tensor, after: Tensor, *, clipped_scaled: bool) -> None:
        """Take what an optimizer is about to step with.

        Args:
            number: of the optimizer.
            before: norm of its gradients before clipping, 0-d.
            after: the same after it, 0-d.
            clipped_scaled: whether they were clipped while they carried the factor of mixed precision.
        """
        if clipped_scaled:
            self._scaled.add(number)
        self._squares.setdefault(number, []).append(torch.stack([before.float(), after.float()]).square())

    def write(self) -> None:
        """Write the norms of the window."""
        add = self._recording.buffer.add
        for place, signal in enumerate((OPTIMIZER_HELD, OPTIMIZER_MOVING)):
            if self._counts:
                add("", signal, float(sum(counts[place] for counts in self._counts.values())))
        if not self._squares:
            return
        each = {number: torch.stack(squares).mean(0) for number, squares in self._squares.items()}
        counted = [squares for number, squares in each.items() if number in self._counts]
        device = counted[0].device
        self._write("", torch.stack([squares.to(device, non_blocking=True) for squares in counted]).sum(0))
        for number, squares in each.items() if self._several else ():
            self._write(site_paths.one_optimizer(number), squares)
        for number in self._scaled:
            add(site_paths.one_optimizer(number) if self._several else "", GRADIENT_CLIPPED_SCALED, 1.0)

    def forget(self) -> None:
        """Forget the window."""
        self._squares.clear()
        self._counts.clear()
        self._owners.clear()
        self._scaled.clear()

    def _write(self, path: str, squares: Tensor) -> None:
        before, after = squares.sqrt().unbind()
        add = self._recording.buffer.add
        add(path, GRADIENT_NORM, before)
        add(path, GRADIENT_NORM_CLIPPED, after)
        add(path, GRADIENT_CLIP_FACTOR, torch.where(before == 0, 1.0, after / before))
