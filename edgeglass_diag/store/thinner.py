"""Keeps the size of a long run within bounds: of the old windows of a signal with many sites some are left."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.store.layouts import Ints, Layout
from edgeglass_diag.store.schema import Value, insert

BYTES = 16 * 2**20
"""Size up to which every reading of a signal is kept."""

STORE = 128 * 2**20
"""Size of a store up to which every reading of all signals is kept."""

RUN = 768 * 2**20
"""Size of the stores of all ranks together up to which every reading is kept, whatever lies above it until the next
stretches are thinned: eight ranks of 2000 sites stay below 1 GB. Of each signal ``FEWEST`` stretches are kept, however
many signals there are: of many signals they have fewer windows (``windows_of_a_stretch``)."""

FEWEST = 4
"""Stretches that are kept at least: the first and the newest two whole, and one of what lies between them."""

THINNED = "thinned"
"""Kind of the summary that says how many windows are left out of the stretch, as one integer of 8 bytes."""

_WHOLE = 2
_EACH = 12
"""Bytes of a value: 8, and 4 in the summary."""

_ROW = 64
"""Bytes that a block takes besides its values, about: its row and its place in the index."""


@dataclass(frozen=True)
class _Kept:
    """A stretch as it lies in the store."""

    id: int
    seqs: Ints
    steps: Ints
    blocks: Sequence[bytes]
    summaries: dict[str, bytes]

    @property
    def left_out(self) -> int:
        """Windows that lay between those of the stretch."""
        return int.from_bytes(self.summaries.get(THINNED, b""), "little")

    def summary(self, kind: str, places: int) -> NDArray[Any]:
        """Return a summary, (places, windows); zeros where it has none, as without NaN."""
        dtype = np.dtype("<i4" if kind == "nans" else "<f4")
        if kind not in self.summaries:
            return np.zeros((places, len(self.steps)), dtype)
        return np.frombuffer(self.summaries[kind], dtype).reshape(places, -1)


def room(ranks: int) -> int:
    """Return the bytes up to which each of so many stores keeps every reading.

    >>> [room(ranks) // 2**20 for ranks in (1, 6, 8)]
    [128, 128, 96]
    """
    return min(STORE, RUN // max(1, ranks))


def windows_of_a_stretch(values: int, ranks: int) -> int:
    """Return how many windows of each signal make a stretch, so that ``FEWEST`` of all signals fit into the room.

    Args:
        values: of all signals in a window.
        ranks: stores that the run has.

    >>> [windows_of_a_stretch(2000 * signals, ranks=8) for signals in (1, 4, 10, 20)]
    [1043, 256, 99, 47]
    """
    return (room(ranks) // (FEWEST * max(1, values)) - _ROW) // _EACH


def thin(db: sqlite3.Connection, signal: int, number: int, layout: Layout, *, ranks: int = 1, signals: int = 1) -> None:
    """Make the stretches between the first and the newest ones one fewer, where the store and the signal are large.

    What is left is spread evenly over the steps, and what has NaN goes last. The transaction is the caller's.

    Args:
        db: the store.
        signal: its id.
        number: id of the layout; others have stretches of their own.
        layout: of that id.
        ranks: stores that the run has.
        signals: how many have as many values as this one, or more: the room is shared by them.
    """
    rows = db.execute(
        "SELECT id, LENGTH(steps) / 8 FROM stretches WHERE signal = ? AND layout = ? ORDER BY id", (signal, number)
    ).fetchall()
    size = _EACH * int(rows[-1][1]) * layout.values
    share = min(BYTES, room(ranks) // max(1, signals))
    if _size(db) <= room(ranks) or len(rows) <= max(FEWEST, share // max(1, size)):
        return
    between = [_read(db, int(row[0])) for row in rows[1:-_WHOLE]]
    for kept in between:
        for table, column in (("stretches", "id"), ("blocks", "stretch"), ("summaries", "stretch")):
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (kept.id,))
    _write(db, signal, number, between, places=len(layout.sites))


def _size(db: sqlite3.Connection) -> int:
    """Return the bytes of a store that are in use."""
    pages, free, each = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * each


def _write(db: sqlite3.Connection, signal: int, number: int, between: Sequence[_Kept], *, places: int) -> None:
    """Write what is left of some stretches as one fewer, under the ids of the first ones."""
    steps, seqs = (np.concatenate([getattr(kept, name) for kept in between]) for name in ("steps", "seqs"))
    kinds = dict.fromkeys(kind for kept in between for kind in kept.summaries if kind != THINNED)
    summaries = {kind: np.concatenate([kept.summary(kind, places) for kept in between], axis=1) for kind in kinds}
    nans = summaries.get("nans")
    lost = np.zeros(len(steps)) if nans is None else nans.sum(axis=0)
    left = _chosen(steps, lost, len(steps) * (len(between) - 1) // len(between))
    blocks = [
        np.concatenate([np.frombuffer(kept.blocks[place], np.uint8).reshape(len(kept.steps), -1) for kept in between])
        for place in range(places)
    ]
    parts = [part for part in np.array_split(left, len(between) - 1) if len(part)]
    left_out = sum(kept.left_out for kept in between) + len(steps) - len(left)
    for kept, part in zip(between, parts, strict=False):
        insert(
            db, "stretches", [(kept.id, signal, int(seqs[part][-1]), number, _packed(seqs[part]), _packed(steps[part]))]
        )
        insert(db, "blocks", [(kept.id, place, rows[part].tobytes()) for place, rows in enumerate(blocks)])
        made: list[tuple[Value, ...]] = [
            (kept.id, kind, np.ascontiguousarray(values[:, part]).tobytes()) for kind, values in summaries.items()
        ]
        made.append((kept.id, THINNED, left_out.to_bytes(8, "little")))
        insert(db, "summaries", made)
        left_out = 0  # the first of them says it for all


def _chosen(steps: Ints, lost: NDArray[Any], most: int) -> Ints:
    """Return the windows that are left, in the order of their writes: without the one whose neighbours are nearest,
    time and again, and of those with NaN only where no other is left. The first and the last one stay.

    >>> steps = np.array([0, 100, 200, 210, 220, 230, 240])
    >>> _chosen(steps, np.zeros(7), 4), _chosen(steps, np.eye(7)[3], 4)
    (array([0, 1, 2, 6]), array([0, 1, 3, 6]))
    >>> _chosen(steps, np.array([0, 1, 1, 1, 1, 1, 0]), 3)
    array([0, 1, 6])
    """
    order = np.argsort(steps, kind="stable")
    place = {int(window): number for number, window in enumerate(order)}
    before, after = list(range(-1, len(order) - 1)), list(range(1, len(order) + 1))
    sorted_steps = steps[order].tolist()
    last = len(order) - 1

    def gap(number: int) -> tuple[int, int]:
        if number in (0, last):
            return 2, 0
        return int(lost[order[number]] > 0), sorted_steps[after[number]] - sorted_steps[before[number]]

    heap = [(gap(number), number) for number in range(len(order))]
    heapify(heap)
    gone: set[int] = set()
    while len(order) - len(gone) > max(most, 2):
        found, number = heappop(heap)
        if number in gone or found != gap(number):
            continue
        gone.add(number)
        left, right = before[number], after[number]
        if left >= 0:
            after[left] = right
        if right <= last:
            before[right] = left
        for neighbour in (left, right):
            if 0 < neighbour < last:
                heappush(heap, (gap(neighbour), neighbour))
    return np.array([window for window in range(len(steps)) if place[window] not in gone], np.int64)


def _packed(numbers: Ints) -> bytes:
    return numbers.astype("<i8").tobytes()


def _read(db: sqlite3.Connection, stretch: int) -> _Kept:
    [(seqs, steps)] = db.execute("SELECT seqs, steps FROM stretches WHERE id = ?", (stretch,)).fetchall()
    blocks = db.execute("SELECT data FROM blocks WHERE stretch = ? ORDER BY place", (stretch,)).fetchall()
    summaries = dict(db.execute("SELECT kind, data FROM summaries WHERE stretch = ?", (stretch,)).fetchall())
    numbers = np.frombuffer(seqs, "<i8"), np.frombuffer(steps, "<i8")
    return _Kept(stretch, *numbers, [data for (data,) in blocks], summaries)
