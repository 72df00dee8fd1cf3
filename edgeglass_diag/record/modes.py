"""Observes in which mode modules run, and whether the running statistics of BatchNorm fit the batches."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeglass_diag.measures.batch_norm import batch_statistic, mismatch
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.observer import ModuleCall, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign
from edgeglass_diag.signals.modes import (
    BATCHNORM_MISMATCH,
    BATCHNORM_SAMPLES,
    BATCHNORM_STILL,
    BATCHNORM_UNTOUCHED,
    MODE_TRAINING,
)
from edgeglass_diag.sites import Kind


class ModeObserver(Observer):
    """Writes ``mode/training`` of models and BatchNorms, and ``batchnorm/*``.

    The statistics of a batch are worked out of how it moved the running ones: no activation is read again.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._before: Facts[Frame, tuple[Tensor, Tensor]] = Facts()

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Note the mode, and the running statistics before a batch moves them."""
        frame = self._recording.stack.frames[-1]
        module = frame.module
        is_norm = isinstance(module, _BatchNorm)
        if frame.is_training and (is_norm or (frame is outermost and frame.is_model)):
            self._recording.buffer.add(frame.path, MODE_TRAINING, float(module.training))
        if is_norm and isinstance(module.running_mean, Tensor) and not is_foreign(module.running_mean):
            with self._recording.measuring(frame.path, Kind.MODULE):
                self._statistics(frame, module)

    def module_ends(self, call: ModuleCall) -> None:
        """Write how far the running statistics are from those of the batch."""
        before, module = self._before.get(call.frame), call.frame.module
        if before is None or not call.given or not isinstance(module, _BatchNorm):
            return
        self._recording.buffer.add(call.frame.path, BATCHNORM_STILL, float(module.momentum == 0))
        counted = module.num_batches_tracked
        momentum = module.momentum if module.momentum is not None or counted is None else 1 / counted.float()
        if momentum is None or (isinstance(momentum, float) and not 0 < momentum <= 1):
            return
        assert module.running_mean is not None
        assert module.running_var is not None
        mean = batch_statistic(before[0], module.running_mean, momentum)
        variance = batch_statistic(before[1], module.running_var, momentum)
        add = self._recording.buffer.add
        add(call.frame.path, BATCHNORM_MISMATCH, mismatch(mean, variance, *before, module.eps))
        add(call.frame.path, BATCHNORM_SAMPLES, float(call.given[0].shape[0]))

    def forget(self) -> None:
        """Forget the statistics of the window."""
        self._before.clear()

    def _statistics(self, frame: Frame, module: nn.Module) -> None:
        mean, variance = module.running_mean, module.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(variance, Tensor)
        if not module.training:
            untouched = ((mean == 0).all() & (variance == 1).all()).float()
            self._recording.buffer.add(self._recording.naming.path(module), BATCHNORM_UNTOUCHED, untouched)
        elif frame.is_training:
            self._before.set(frame, (mean.clone(), variance.clone()))
