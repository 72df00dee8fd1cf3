"""Signals of modules that read sequences."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import Kind

MODULE_ALONG_SAMPLES = register(
    Signal(
        "module/along_samples",
        Kind.MODULE,
        "Length of the sequence that a recurrent or attention module without batch_first reads, where it is that of "
        "the model's batch and its second dimension is not; 0 elsewhere.",
        low=0,
    )
)
