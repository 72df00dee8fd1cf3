"""Every signal, once: path, meaning, unit, range, reduction within a window, components and drawing.

Constants stand in one module for each family. What is not registered can neither be written nor asked for; metrics that
a training logs itself are the one open family, ``metric(name)``.
"""

from edgeglass_diag.signals import (
    activations,
    attention,
    batches,
    embeddings,
    evaluation,
    losses,
    modes,
    pairings,
    parameters,
    probes,
    ranks,
)
from edgeglass_diag.signals.registry import METRIC, family, find, metric, recorded, registered
from edgeglass_diag.signals.signal import Components, Drawing, Palette, Reduction, Signal, Usual

__all__ = [
    "METRIC", "Components", "Drawing", "Palette", "Reduction", "Signal", "Usual", "activations", "attention",
    "batches", "embeddings", "evaluation", "family", "find", "losses", "metric", "modes", "pairings", "parameters",
    "probes", "ranks", "recorded", "registered",
]  # fmt: skip
