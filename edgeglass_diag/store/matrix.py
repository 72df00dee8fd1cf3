"""A signal over sites and steps at the size of a screen, without losing an extreme or a NaN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.records import UsageError
from edgeglass_diag.store.layouts import Ints
from edgeglass_diag.store.parts import Floats, Part, Values

Component = Literal["mean", "min", "max"] | int
"""A head by its number, or what is taken over all heads of a step."""

Span = tuple[int, int]
"""A first and a last step, both among those that are meant."""

_SUMMARY: dict[str, Literal["mean", "low", "high"]] = {"mean": "mean", "min": "low", "max": "high"}


@dataclass(frozen=True)
class Matrix:
    """A signal at S sites in T columns; a column is one recorded step, or several where there are more than asked for.

    Attributes:
        sites: the rows, in order of first execution.
        edges: first step of each column, rising; the last column ends at ``last_step``.
        low, high: lowest and highest number in a cell, (S, T) float32; NaN where there is no number.
        nans: how many values of a cell are NaN, (S, T). A cell with any is to be drawn as such: its extremes are those
            of its other values.
        count: recorded windows in a cell, (S, T); 0 where nothing was measured.
        last_row: the cursor for ``readings(..., after=...)`` and ``matrix(..., after=...)``.
        last_step: the last step of the last column, -1 without columns.
    """

    sites: list[str]
    edges: list[int]
    low: Floats
    high: Floats
    nans: Ints
    count: Ints
    last_row: int
    last_step: int


class Columns:
    """Recorded steps spread evenly over at most ``bins`` columns."""

    def __init__(self, steps: Iterable[Ints], bins: int) -> None:
        found = list(steps)
        self.steps = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
        self.count = min(bins, len(self.steps))
        of_rank = np.arange(len(self.steps)) * self.count // max(1, len(self.steps))
        self._of_rank = of_rank
        self.edges = self.steps[np.searchsorted(of_rank, np.arange(self.count))].tolist()

    def of(self, steps: Ints) -> Ints:
        """The column of each step."""
        return self._of_rank[np.searchsorted(self.steps, steps)]


class Grid:
    """Extremes and counts of a growing number of values in cells."""

    def __init__(self, rows: int, columns: int) -> None:
        self.low = np.full((rows, columns), np.nan, np.float32)
        self.high = self.low.copy()
        self.nans = np.zeros((rows, columns), np.int64)
        self.count = np.zeros((rows, columns), np.int64)

    def add(self, rows: Ints, columns: Ints, values: Values, nans: Ints) -> None:
        """Add values and the NaN counted in them, (rows, windows): fmin and fmax let NaN pass only where all are."""
        if not values.size:
            return
        if (np.diff(columns) < 0).any():
            order = np.argsort(columns, kind="stable")
            columns, values, nans = columns[order], values[:, order], nans[:, order]
        starts = np.flatnonzero(np.diff(columns, prepend=-1))
        cells = rows[:, None], columns[starts][None]
        low, high = np.fmin.reduceat(values, starts, axis=1), np.fmax.reduceat(values, starts, axis=1)
        lost, count = np.add.reduceat(nans, starts, axis=1), np.diff(starts, append=len(columns))[None]
        if len(np.unique(rows)) < len(rows):  # a site measured twice in a window: slower, but each counts
            np.fmin.at(self.low, cells, low)
            np.fmax.at(self.high, cells, high)
            np.add.at(self.nans, cells, lost)
            np.add.at(self.count, cells, count)
            return
        self.low[cells] = np.fmin(self.low[cells], low)
        self.high[cells] = np.fmax(self.high[cells], high)
        self.nans[cells] += lost
        self.count[cells] += count


def check_bins(bins: int) -> None:
    """Refuse a number of columns that is none."""
    if bins < 1:
        raise UsageError(f"bins: expected at least 1, got {bins}")


def check_component(component: Component) -> None:
    """Refuse what is neither a summary nor the number of a head."""
    if component not in _SUMMARY and not (isinstance(component, int) and component >= 0):
        raise UsageError(f"component: expected mean, min, max or a number from 0, got {component!r}")


def over_sites(
    parts: Sequence[Part], sites: Sequence[int], bins: int, component: Component, after: int, steps: Span | None
) -> tuple[Columns, Grid]:
    """The cells of a matrix, whose rows are given by the ids of their sites; -1 is a site without readings."""
    table = np.full(max([*sites, *(int(part.layout.sites.max(initial=0)) for part in parts)], default=0) + 1, -1)
    known = np.array(sites, np.int64)
    table[known[known >= 0]] = np.flatnonzero(known >= 0)
    fresh = [(part, np.flatnonzero(_asked(part, after, steps))) for part in parts]
    columns = Columns((part.steps[windows] for part, windows in fresh), bins)
    grid = Grid(len(sites), columns.count)
    for part, windows in fresh:
        least = component + 1 if isinstance(component, int) else 1
        places = np.flatnonzero((table[part.layout.sites] >= 0) & (part.layout.widths >= least))
        if len(places) and len(windows):
            values, nans = _values(part, places, component)
            taken = columns.of(part.steps[windows])
            grid.add(table[part.layout.sites[places]], taken, values[:, windows], nans[:, windows])
    return columns, grid


def _asked(part: Part, after: int, steps: Span | None) -> NDArray[np.bool_]:
    """Which windows of a part were written after a row, and are of the steps that are asked for."""
    fresh = part.seqs > after
    return fresh if steps is None else fresh & (part.steps >= steps[0]) & (part.steps <= steps[1])


def _values(part: Part, places: Ints, component: Component) -> tuple[Floats, Ints]:
    """One number for each place and window, and how many NaN lie behind it."""
    if isinstance(component, int):
        with np.errstate(over="ignore"):
            values = np.stack([part.block(place)[:, component] for place in places.tolist()]).astype(np.float32)
        return values, np.isnan(values).astype(np.int64)
    values = part.summary(_SUMMARY[component])[places]
    lost = np.isnan(values).astype(np.int64)  # the mean of both infinities is none either
    nans = part.nans()
    return values, lost if nans is None else np.maximum(nans[places], lost)


def over_heads(parts: Sequence[Part], site: int, bins: int, after: int) -> tuple[Columns, Grid]:
    """The cells of one site, whose rows are its components."""
    fresh = [(part, part.layout.places_of([site]), np.flatnonzero(part.seqs > after)) for part in parts]
    fresh = [(part, places, windows) for part, places, windows in fresh if len(places)]
    columns = Columns((part.steps[windows] for part, _, windows in fresh), bins)
    heads = max((int(part.layout.widths[places].max()) for part, places, _ in fresh), default=0)
    grid = Grid(heads, columns.count)
    for part, places, windows in fresh:
        for place in places.tolist():
            with np.errstate(over="ignore"):
                values: NDArray[np.float32] = part.block(place)[windows].T.astype(np.float32)
            taken = columns.of(part.steps[windows])
            grid.add(np.arange(len(values)), taken, values, np.isnan(values).astype(np.int64))
    return columns, grid
