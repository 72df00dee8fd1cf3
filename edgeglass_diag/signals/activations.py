"""Signals of the outputs of modules, and of dropout."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Drawing, Palette, Reduction, Signal
from edgeglass_diag.sites import Kind

_SAMPLE_SIGNAL = Drawing(
    "Sample signal",
    "share of the output's energy that depends on the sample",
    Palette.SHARE,
    "1: outputs differ fully between samples; 0: every sample gives the same output",
    "dead at or below {low:g}",
    logarithmic=True,
    extent=(-8, 0),
    extreme="low",
)
_ACTIVATION = Drawing(
    "Activation size",
    "rms of the module's output",
    Palette.SIZE,
    "how large outputs are: growth from module to module overflows at last",
    logarithmic=True,
)

ACTIVATION_RMS = register(
    Signal("activation/rms", Kind.MODULE, "Root mean square of the output.", low=0, drawing=_ACTIVATION)
)
ACTIVATION_ABSMAX = register(
    Signal("activation/absmax", Kind.MODULE, "Largest magnitude of the output.", low=0, reduction=Reduction.MAX)
)
ACTIVATION_ZEROS = register(Signal("activation/zeros", Kind.MODULE, "Share of zeros in the output.", low=0, high=1))
ACTIVATION_NONFINITE = register(
    Signal(
        "activation/nonfinite",
        Kind.MODULE,
        "Number of NaN and infinite entries of the output, extrapolated from a sample.",
        low=0,
        reduction=Reduction.SUM,
        unit="entries",
    )
)
ACTIVATION_SAMPLE_SIGNAL = register(
    Signal(
        "activation/sample_signal",
        Kind.MODULE,
        "Share of the output's energy that depends on the sample: 0 where every sample gives the same.",
        low=0,
        high=1,
        drawing=_SAMPLE_SIGNAL,
    )
)
PRECISION_FLOAT16 = register(Signal("precision/float16", None, "Share of module outputs in float16.", low=0, high=1))
DROPOUT_P = register(
    Signal(
        "dropout/p",
        Kind.MODULE,
        "Share that a dropout of a training forward pass takes away, at the module that asks for it.",
        low=0,
        high=1,
    )
)
NOISE_UNREPEATED = register(
    Signal(
        "noise/unrepeated",
        Kind.DROPOUT,
        "Share of samples of a pass without gradients that do not come again with gradients in the same window.",
        low=0,
        high=1,
    )
)
NOISE_WEIGHTS = register(
    Signal(
        "noise/weights", Kind.DROPOUT, "Sum of a frozen module's largest weight, which a momentum teacher's changes."
    )
)
