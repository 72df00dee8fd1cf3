"""Observes whether frozen random weights are written from elsewhere, as those of a momentum encoder are."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor

from edgeglass_diag.measures.gradients import sample
from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.provenance import ProvenanceObserver
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign, local_part
from edgeglass_diag.records import ParameterOrigin
from edgeglass_diag.signals.parameters import WEIGHT_WRITTEN

_WINDOWS = 4
"""Recorded windows in which they are compared: what is written from elsewhere is so from the first step on."""


class FrozenWeightObserver(Observer):
    """Compares frozen random weights with what they were after the first step.

    Args:
        recording: state of the watch.
        provenance: knows where initial values come from.
    """

    def __init__(self, recording: Recording, provenance: ProvenanceObserver) -> None:
        self._recording, self._provenance = recording, provenance
        self._first: dict[str, tuple[weakref.ref[Tensor], Tensor]] = {}
        self._windows = 0

    def window_ends(self) -> None:
        """Keep samples in the first window, compare in those after it, and release them then."""
        origins = self._provenance.origins
        self._windows = 0 if origins else self._windows
        if self._windows == _WINDOWS:
            self._first.clear()
            return
        self._windows += 1
        if origins:
            self._begin(origins)
        else:
            self._compare()

    def _begin(self, origins: Iterable[ParameterOrigin]) -> None:
        """Keep a sample of each that is frozen now, was drawn at random and was not loaded."""
        drawn = {o.name for o in origins if any(w.random for w in o.writes)}
        drawn -= {o.name for o in origins if any(w.is_loaded for w in o.writes)}
        self._first |= {
            name: (weakref.ref(parameter), sample(local_part(parameter)))
            for name, parameter in self._recording.naming.named_parameters
            if name in drawn and not is_foreign(parameter) and not parameter.requires_grad and parameter.dim() > 1
        }

    def _compare(self) -> None:
        """Record 1 for each that has changed since, else 0."""
        living = {
            name: (p, first) for name, (reference, first) in self._first.items() if (p := reference()) is not None
        }
        if living:
            changed = [(sample(local_part(p)) != first).any() for p, first in living.values()]
            self._recording.buffer.add_each(list(living), WEIGHT_WRITTEN, torch.stack(changed).float())
