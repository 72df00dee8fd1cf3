"""All readings of a signal at one site, one number for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.store.layouts import Ints
from edgeglass_diag.store.matrix import Component
from edgeglass_diag.store.parts import Part


@dataclass(frozen=True)
class Series:
    """Readings by step.

    Attributes:
        steps: rising, (readings,).
        values: one number of each reading, (readings,); NaN where one of the heads that it is taken of is NaN.
    """

    steps: Ints
    values: NDArray[np.float64]


def series_of(parts: Sequence[Part], site: int, component: Component) -> Series:
    """Return the readings that the parts hold of the site of that id.

    Args:
        parts: of one signal.
        site: an id, -1 for a site without readings.
        component: what is taken of several numbers of a reading.
    """
    found = [
        (part.steps, part.seqs, _taken(np.asarray(part.block(place), np.float64), component))
        for part in parts
        for place in part.layout.places_of([site]).tolist()
        if not isinstance(component, int) or component < part.layout.widths[place]
    ]
    if not found:
        return Series(np.empty(0, np.int64), np.empty(0))
    steps, seqs, values = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort([seqs, steps])
    return Series(steps[order], values[order])


def _taken(block: NDArray[np.float64], component: Component) -> NDArray[np.float64]:
    if isinstance(component, int):
        return block[:, component]
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):
        if component == "mean":
            return np.asarray(block.mean(axis=1))
        return np.asarray(block.min(axis=1) if component == "min" else block.max(axis=1))
