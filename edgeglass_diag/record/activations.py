"""Keeps samples of the activations of a window and makes the statistics of many of them at once, at its end."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor

from edgeglass_diag.measures.activations import ActivationSample, activation_statistics, sample_activation
from edgeglass_diag.record.session import Session
from edgeglass_diag.signals import family
from edgeglass_diag.sites import Kind

_SIGNALS = family("activation")

_KEPT = 2**23
"""Entries held at most (32 MiB): a window of many forward passes is reduced in parts."""


class Activations:
    """Samples waiting to be reduced: some twenty small kernels for all of a kind instead of for each."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: dict[Hashable, list[tuple[str, ActivationSample]]] = {}
        self._entries = 0

    def take(self, site: str, values: Tensor, batch_axis: int | None) -> None:
        """Keep a sample of the output of a module."""
        sample = sample_activation(values, batch_axis)
        self._waiting.setdefault(sample.kind, []).append((site, sample))
        self._entries += sample.part.numel()
        if self._entries > _KEPT:
            self.reduce()

    def reduce(self) -> None:
        """Add the statistics of all that waits to the window."""
        add = self._session.buffer.add
        for group in self._waiting.values():
            with self._session.measuring(group[0][0], Kind.MODULE, group[0][1].part):
                for name, values in activation_statistics([sample for _, sample in group])._asdict().items():
                    if values is not None:
                        for (site, _), value in zip(group, values.unbind(), strict=True):
                            add(site, _SIGNALS[name], value)
        self.forget()

    def forget(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._entries = 0
