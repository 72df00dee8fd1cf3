"""Signals of the probes of a preflight."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import Kind

PROBE_LOSS = register(Signal("probe/loss", Kind.PROBE, "Loss behind the changed inputs."))
PROBE_REFERENCE = register(
    Signal("probe/reference", Kind.PROBE, "Loss behind the inputs as they are, in the same mode of the models.")
)
PROBE_OUTPUT_CHANGE = register(
    Signal(
        "probe/output_change",
        Kind.PROBE,
        "Largest |change| / |output| of the first sample's outputs of the models, in L2 norms.",
        low=0,
    )
)
PROBE_ROUNDING = register(
    Signal("probe/rounding", Kind.PROBE, "Machine epsilon of the least precise output of the models.", low=0)
)
