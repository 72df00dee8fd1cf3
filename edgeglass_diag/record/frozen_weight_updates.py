"""Frozen weights that were drawn at random: are they written from elsewhere, as a momentum encoder is?"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor

from edgeglass_diag.measures.gradients import sample
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import local_part
from edgeglass_diag.records import ParameterOrigin
from edgeglass_diag.signals.parameters import WEIGHT_WRITTEN


class FrozenWeights:
    """Compares frozen random weights with what they were after the first step.

    Args:
        session: state of the watch.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._first: dict[str, tuple[weakref.ref[Tensor], Tensor]] = {}

    def begin(self, origins: Iterable[ParameterOrigin]) -> None:
        """Keep a sample of each that is frozen now, was drawn at random and was not loaded."""
        drawn = {o.name for o in origins if any(w.random for w in o.writes)}
        drawn -= {o.name for o in origins if any(w.op == "load_state_dict" for w in o.writes)}
        self._first = {
            name: (weakref.ref(parameter), sample(local_part(parameter)))
            for name, parameter in self._session.naming.named_parameters
            if name in drawn and not parameter.requires_grad and parameter.dim() > 1
        }

    def compare(self) -> None:
        """Record 1 for each that has changed since, else 0."""
        living = {
            name: (p, first) for name, (reference, first) in self._first.items() if (p := reference()) is not None
        }
        if living:
            changed = [(sample(local_part(p)) != first).any() for p, first in living.values()]
            self._session.buffer.add_each(list(living), WEIGHT_WRITTEN, torch.stack(changed).float())

    def forget(self) -> None:
        """Release the samples."""
        self._first.clear()
