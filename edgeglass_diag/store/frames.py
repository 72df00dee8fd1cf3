"""Parts as single readings and as frames of pandas, which is imported only where a frame is made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeglass_diag.ranks import NORMS, sharded_sites, whole_norms
from edgeglass_diag.records import Site
from edgeglass_diag.signals import Signal
from edgeglass_diag.store.layouts import Ints
from edgeglass_diag.store.matrix import Grid
from edgeglass_diag.store.parts import Part
from edgeglass_diag.thinning import kept_indices

if TYPE_CHECKING:
    import pandas as pd

Entries = list[tuple[int, tuple[float, ...]]]
"""Id of the site and its values, of one window."""


def windows(
    parts: Iterable[Part], sites: Collection[int] | None, after: int, *, thinned: bool = False
) -> list[tuple[int, int, Entries]]:
    """Step, number of the write and entries of each window, in this order.

    Args:
        parts: of one signal.
        sites: ids of those that are wanted; all where None.
        after: only writes above this one.
        thinned: of a long series only what ``kept_indices`` chooses, so that little of the store is read.
    """
    known = list(parts)
    chosen = _chosen(known) if thinned else None
    found: list[tuple[int, int, Entries]] = []
    for part in known:
        places, wanted = _places(part, sites), part.seqs > after
        kept = np.flatnonzero(wanted if chosen is None else wanted & np.isin(part.steps, chosen))
        if not len(places) or not len(kept):
            continue
        ids = part.layout.sites[places].tolist()
        blocks = part.blocks() if sites is None else map(part.block, places.tolist())
        columns = [block[kept].tolist() for block in blocks]
        for i, window in enumerate(kept.tolist()):
            entries = [(id_, tuple(column[i])) for id_, column in zip(ids, columns, strict=True)]
            found.append((int(part.steps[window]), int(part.seqs[window]), entries))
    return sorted(found, key=lambda window: window[:2])


def _chosen(parts: Iterable[Part]) -> Ints:
    """Return the steps of a signal that ``kept_indices`` chooses."""
    steps = sorted({step for part in parts for step in part.steps.tolist()})
    return np.array([steps[index] for index in kept_indices(steps)], np.int64)


def table(parts: Iterable[Part], sites: Collection[int] | None, names: Mapping[int, str]) -> pd.DataFrame:
    """The same as a frame: step, site, component, value, one row for each component."""
    import pandas as pd

    columns = [_columns(part, places) for part in parts if len(places := _places(part, sites))]
    if not columns:
        return pd.DataFrame({"step": [], "site": [], "component": [], "value": []}).astype(
            {"step": np.int64, "site": "str", "component": np.int64, "value": np.float64}
        )
    step, seq, site, component, value = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort([seq, step])
    ids, codes = np.unique(site[order], return_inverse=True)
    labels = np.array([names[number] for number in ids.tolist()], dtype=object)
    return pd.DataFrame(
        {"step": step[order], "site": labels[codes], "component": component[order], "value": value[order]}
    )


def _places(part: Part, sites: Collection[int] | None) -> Ints:
    return np.arange(len(part.layout.sites)) if sites is None else part.layout.places_of(sites)


def _columns(part: Part, places: Ints) -> tuple[Ints, Ints, Ints, Ints, np.ndarray]:
    """Step, write, site, component and value of all components, windows outermost."""
    values = np.concatenate([part.block(place).astype(np.float64) for place in places.tolist()], axis=1)
    widths = part.layout.widths[places]
    windows = len(part.steps)
    site = np.repeat(part.layout.sites[places], widths)
    component = np.concatenate([np.arange(width) for width in widths.tolist()])
    return (
        np.repeat(part.steps, values.shape[1]),
        np.repeat(part.seqs, values.shape[1]),
        np.tile(site, windows),
        np.tile(component, windows),
        values.reshape(-1),
    )


def merged(by_rank: Mapping[int, pd.DataFrame], signal: Signal, sites: Sequence[Site]) -> pd.DataFrame:
    """The frames of all ranks one below the other with the rank first; a single one as it is."""
    import pandas as pd

    if len(by_rank) == 1:
        return next(iter(by_rank.values()))
    whole = pd.concat([frame.assign(rank=rank) for rank, frame in by_rank.items()], ignore_index=True)
    whole = whole[["rank", "step", "site", "component", "value"]]
    if signal in NORMS:
        rows = whole_norms(list(whole.itertuples(index=False, name=None)), sharded_sites(sites))
        whole = pd.DataFrame(rows, columns=list(whole.columns))
    return whole


def cells(edges: Sequence[int], grid: Grid) -> pd.DataFrame:
    """The cells of a grid whose rows are components, those that hold something, by step."""
    import pandas as pd

    columns, rows = np.nonzero(grid.count.T)
    return pd.DataFrame(
        {
            "step": np.array(edges, np.int64)[columns],
            "component": rows,
            "low": grid.low[rows, columns],
            "high": grid.high[rows, columns],
            "nans": grid.nans[rows, columns],
        }
    )
