"""Which sites a slice holds and where its values lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.records import Reading

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The sites of a slice in the order in which they were measured, and the number of components of each.

    Numbers that stand alone keep the precision of Python's float (float64); vectors over heads are float32. In a
    slice the former come first.

    Attributes:
        sites: ids of names, (places,); a site may occur twice.
        widths: components of each place, (places,).
    """

    sites: Ints
    widths: Ints

    @classmethod
    def parse(cls, data: bytes) -> Layout:
        """Read what ``as_bytes`` wrote."""
        sites, widths = np.frombuffer(data, "<i8").reshape(2, -1)
        return cls(sites, widths)

    def as_bytes(self) -> bytes:
        """For the table of layouts."""
        return np.stack([self.sites, self.widths]).astype("<i8").tobytes()

    @property
    def key(self) -> tuple[tuple[int, int], ...]:
        """Site and width of each place."""
        return tuple(zip(self.sites.tolist(), self.widths.tolist(), strict=True))

    @cached_property
    def scalars(self) -> Ints:
        """The places with one component."""
        return np.flatnonzero(self.widths == 1)

    @cached_property
    def vectors(self) -> Ints:
        """The places with another number of components."""
        return np.flatnonzero(self.widths != 1)

    @cached_property
    def starts(self) -> Ints:
        """Where a place begins among the values of its kind, (places,)."""
        starts = np.empty_like(self.widths)
        for places in (self.scalars, self.vectors):
            starts[places] = np.cumsum(self.widths[places]) - self.widths[places]
        return starts

    @property
    def values(self) -> int:
        """Values of one window."""
        return int(self.widths.sum())

    def places_of(self, sites: Iterable[int]) -> Ints:
        """The places at which one of these sites stands."""
        return np.flatnonzero(np.isin(self.sites, list(sites)))


def pack(readings: Sequence[Reading]) -> bytes:
    """The values of a slice; those of vectors beyond float32 become infinite."""
    scalars = [r.values[0] for r in readings if len(r.values) == 1]
    vectors = [value for r in readings if len(r.values) != 1 for value in r.values]
    if not vectors:
        return np.array(scalars, "<f8").tobytes()
    with np.errstate(over="ignore"):
        return np.array(scalars, "<f8").tobytes() + np.array(vectors, "<f4").tobytes()
