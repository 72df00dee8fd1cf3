"""Changes that are made to a training from outside, in its own process, by the means that observe it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeglass_diag.intervention import KINDS, Intervention

if TYPE_CHECKING:
    from edgeglass_diag.replaying.interventions.means import Means

__all__ = ["attach_all", "import_all", "known_interventions"]

_MODULES = (
    "optimizers",
    "schedules",
    "step_gradients",
    "held_parameters",
    "initial_values",
    "losses",
    "temperatures",
    "similarities",
    "modules",
    "switches",
    "masks",
    "data",
)
"""Modules of this package that enter interventions, and import torch."""


def known_interventions() -> Mapping[str, str]:
    """Return what each intervention does, by name."""
    return {name: kind.summary for name, kind in KINDS.items()}


def import_all() -> None:
    """Import all modules that enter interventions."""
    for name in _MODULES:
        importlib.import_module(f"{__name__}.{name}")


def attach_all(interventions: Sequence[Intervention]) -> Sequence[Means]:
    """Put interventions in place, in a process that has imported torch and does not use it yet.

    Raises:
        ValueError: if a name is unknown, or a value or a site is none that such an intervention takes.
    """
    checked = [each.checked() for each in interventions]
    import_all()
    from edgeglass_diag.replaying.interventions.live import LiveTraining
    from edgeglass_diag.replaying.interventions.means import means_of

    training = LiveTraining()
    made = [means_of(each)(each, training) for each in checked]
    training.attach(models=any(means.asks_models for means in made))
    for means in made:
        means.attach()
    return made
