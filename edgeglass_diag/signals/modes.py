"""Signals of the mode that modules run in, and of the statistics that BatchNorm keeps."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import Kind

MODE_TRAINING = register(
    Signal(
        "mode/training",
        Kind.MODULE,
        "1 where a model, or a BatchNorm, is called with gradients in training mode, 0 where in evaluation mode.",
        low=0,
        high=1,
    )
)
BATCHNORM_MISMATCH = register(
    Signal(
        "batchnorm/mismatch",
        Kind.MODULE,
        "Mean square by which a normalised batch would differ if the running statistics normalised it, per unit of its "
        "own variance.",
        low=0,
    )
)
BATCHNORM_SAMPLES = register(
    Signal("batchnorm/samples", Kind.MODULE, "Samples of the batch whose statistics a BatchNorm takes.", low=0)
)
BATCHNORM_UNTOUCHED = register(
    Signal(
        "batchnorm/untouched",
        Kind.MODULE,
        "1 where a BatchNorm runs in evaluation mode with the statistics that it was made with, 0 and 1.",
        low=0,
        high=1,
    )
)
BATCHNORM_STILL = register(
    Signal(
        "batchnorm/still",
        Kind.MODULE,
        "1 where a BatchNorm normalises by the batch and gives it no part in its running statistics: momentum 0.",
        low=0,
        high=1,
    )
)
