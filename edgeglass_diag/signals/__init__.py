"""Every signal, once: path, meaning, unit, range, reduction within a window, components and drawing.

Constants stand in one module for each family. What is not registered can neither be written nor asked for; metrics that
a training logs itself are the one open family, ``metric(name)``.
"""

<<<<<<< HEAD
from edgeglass_diag.signals import activations, attention, batches, embeddings, losses, pairings, parameters
=======
from edgeglass_diag.signals import activations, attention, batches, embeddings, losses, modes, parameters
>>>>>>> state
from edgeglass_diag.signals.registry import METRIC, family, find, metric, recorded, registered
from edgeglass_diag.signals.signal import Components, Drawing, Palette, Reduction, Signal, Usual

__all__ = [
    "METRIC", "Components", "Drawing", "Palette", "Reduction", "Signal", "Usual", "activations", "attention",
<<<<<<< HEAD
    "batches", "embeddings", "family", "find", "losses", "metric", "pairings", "parameters", "recorded", "registered",
=======
    "batches", "embeddings", "family", "find", "losses", "metric", "modes", "parameters", "recorded", "registered",
>>>>>>> state
]  # fmt: skip
