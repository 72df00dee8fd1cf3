"""Many windows of one signal that have the same layout, in memory or in the store: what is read and summarised."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.store.database import Database
from edgeglass_diag.store.layouts import Ints, Layout
from edgeglass_diag.store.schema import Value, insert

Kind = Literal["mean", "low", "high"]
Floats = NDArray[np.float32]
Values = NDArray[np.float32] | NDArray[np.float64]
KINDS: tuple[Kind, ...] = ("mean", "low", "high")


class Part(Protocol):
    """Windows of one signal and one layout, in the order in which they were written."""

    @property
    def layout(self) -> Layout:
        """The sites and their components."""

    @property
    def seqs(self) -> Ints:
        """Number of the write of each window, rising, (windows,)."""

    @property
    def steps(self) -> Ints:
        """Step of each window, (windows,)."""

    def block(self, place: int) -> Values:
        """Values at a place of the layout, (windows, components)."""

    def blocks(self) -> Iterator[Values]:
        """Yield the values of each place in order."""

    def summary(self, kind: Kind) -> Floats:
        """Mean, lowest or highest number of the components, (places, windows); NaN where there is no number."""

    def nans(self) -> Ints | None:
        """How many components are NaN, (places, windows); None where none is."""


@dataclass(frozen=True)
class Slices:
    """A part in memory, as the slices hold it.

    Attributes:
        scalars: values of the places with one component, (windows, scalars), float64.
        vectors: values of the other places behind one another, (windows, values), float32.
    """

    layout: Layout
    seqs: Ints
    steps: Ints
    scalars: NDArray[np.float64]
    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, layout: Layout, seqs: Iterable[int], steps: Iterable[int], data: Iterable[bytes]) -> Slices:
        """From what the table of slices holds."""
        numbers = np.fromiter(seqs, np.int64)
        raw = np.frombuffer(b"".join(data), np.uint8).reshape(len(numbers), -1)
        border = 8 * len(layout.scalars)
        return cls(
            layout,
            numbers,
            np.fromiter(steps, np.int64),
            np.ascontiguousarray(raw[:, :border]).view("<f8"),
            np.ascontiguousarray(raw[:, border:]).view("<f4"),
        )

    def block(self, place: int) -> Values:
        """Values at a place of the layout, (windows, components)."""
        start, width = int(self.layout.starts[place]), int(self.layout.widths[place])
        return (self.scalars if width == 1 else self.vectors)[:, start : start + width]

    def blocks(self) -> Iterator[Values]:
        """Yield the values of each place in order."""
        return map(self.block, range(len(self.layout.sites)))

    def summary(self, kind: Kind) -> Floats:
        """Mean, lowest or highest number of the components, (places, windows); NaN where there is no number."""
        found = np.full((len(self.layout.sites), len(self.seqs)), np.nan, np.float32)
        with np.errstate(over="ignore"):
            found[self.layout.scalars] = self.scalars.T
        for places, values in self._by_width():
            found[places] = _reduce(values, kind).T
        return found

    def nans(self) -> Ints | None:
        """How many components are NaN, (places, windows); None where none is."""
        lost = np.isnan(self.scalars), np.isnan(self.vectors)
        if not lost[0].any() and not lost[1].any():
            return None
        counts = np.zeros((len(self.layout.sites), len(self.seqs)), np.int64)
        counts[self.layout.scalars] = lost[0].T
        for places, values in self._by_width():
            counts[places] = np.isnan(values).sum(-1).T
        return counts

    def _by_width(self) -> Iterable[tuple[Ints, NDArray[np.float32]]]:
        """Places with equally many components, and their values (windows, places, components)."""
        layout = self.layout
        for width in np.unique(layout.widths[layout.vectors]):
            if width:
                places = np.flatnonzero(layout.widths == width)
                columns = layout.starts[places][:, None] + np.arange(width)
                yield places, self.vectors[:, columns]


def _reduce(values: NDArray[np.float32], kind: Kind) -> Floats:
    if kind == "low":
        return np.asarray(np.fmin.reduce(values, axis=-1))
    if kind == "high":
        return np.asarray(np.fmax.reduce(values, axis=-1))
    lost = np.isnan(values)
    counts = values.shape[-1] - lost.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sums = np.add.reduce(values, axis=-1, dtype=np.float64, where=~lost)
        return np.asarray(sums / counts, np.float32)


@dataclass(frozen=True)
class Stretch:
    """A part in the store, read as far as it is asked for."""

    db: Database
    id: int
    layout: Layout
    seqs: Ints
    steps: Ints

    def block(self, place: int) -> Values:
        """Values at a place of the layout, (windows, components)."""
        kept = self.db.select("blocks", "WHERE stretch = ? AND place = ?", (self.id, int(place)))
        return self._values(place, kept[0][2])

    def blocks(self) -> Iterator[Values]:
        """Yield the values of each place in order."""
        kept = self.db.select("blocks", "WHERE stretch = ? ORDER BY place", (self.id,))
        return (self._values(place, data) for _, place, data in kept)

    def _values(self, place: int, data: bytes) -> Values:
        width = int(self.layout.widths[place])
        return np.frombuffer(data, "<f8" if width == 1 else "<f4").reshape(len(self.seqs), width)

    def summary(self, kind: Kind) -> Floats:
        """Mean, lowest or highest number of the components, (places, windows); NaN where there is no number."""
        data = self._summary(kind) or self._summary("mean")  # of single numbers all three are the same
        assert data is not None
        return np.frombuffer(data, "<f4").reshape(-1, len(self.seqs))

    def nans(self) -> Ints | None:
        """How many components are NaN, (places, windows); None where none is."""
        data = self._summary("nans")
        return None if data is None else np.frombuffer(data, "<i4").reshape(-1, len(self.seqs)).astype(np.int64)

    def _summary(self, kind: str) -> bytes | None:
        kept = self.db.select("summaries", "WHERE stretch = ? AND kind = ?", (self.id, kind))
        return kept[0][2] if kept else None


def store(db: sqlite3.Connection, signal: int, layout: int, part: Slices) -> None:
    """Write a part as a stretch; the transaction is the caller's."""
    seqs, steps = (numbers.astype("<i8").tobytes() for numbers in (part.seqs, part.steps))
    stretch = int(db.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM stretches").fetchone()[0])
    insert(db, "stretches", [(stretch, signal, int(part.seqs[-1]), layout, seqs, steps)])
    insert(db, "blocks", ((stretch, place, part.block(place).tobytes()) for place in range(len(part.layout.sites))))
    kinds = KINDS if len(part.layout.vectors) else KINDS[:1]
    summaries: list[tuple[Value, ...]] = [(stretch, kind, part.summary(kind).astype("<f4").tobytes()) for kind in kinds]
    nans = part.nans()
    if nans is not None:
        summaries.append((stretch, "nans", nans.astype("<i4").tobytes()))
    insert(db, "summaries", summaries)
