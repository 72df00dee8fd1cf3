"""Writes the readings of a window as slices, and has them compacted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np

from edgeglass_diag.records import Reading
from edgeglass_diag.store.compaction import Compactor
from edgeglass_diag.store.layouts import Layout, pack


class Slices:
    """The names, layouts and the running number of one store that is written.

    Args:
        db: the open store; transactions are the caller's.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._ids: dict[tuple[str, str], int] = {}
        self._layout_ids: dict[tuple[tuple[int, int], ...], int] = {}
        self._layouts: dict[int, Layout] = {}
        self._seq = 0
        self._compactor = Compactor(db, self._layouts.__getitem__)

    def compact(self) -> None:
        """Turn round what is due, a little with each window."""
        self._compactor.work()

    def write(self, readings: Iterable[Reading]) -> None:
        """Append the readings of a window, one slice for each signal and step."""
        self._seq += 1
        slices: dict[tuple[str, int], list[Reading]] = {}
        for reading in readings:
            slices.setdefault((reading.signal, reading.step), []).append(reading)
        for (signal, step), group in slices.items():
            number, layout = self._id("signals", signal), self._layout(group)
            self._db.execute(
                "INSERT INTO slices (signal, seq, step, layout, data) VALUES (?, ?, ?, ?, ?)",
                (number, self._seq, step, layout, pack(group)),
            )
            self._compactor.add(number, self._layouts[layout].values)

    def _id(self, table: str, name: str) -> int:
        if (table, name) not in self._ids:
            cursor = self._db.execute(f"INSERT INTO {table} (name) VALUES (?)", (name,))
            self._ids[table, name] = int(cursor.lastrowid or 0)
        return self._ids[table, name]

    def _layout(self, readings: Sequence[Reading]) -> int:
        key = tuple((self._id("names", reading.site), len(reading.values)) for reading in readings)
        if key not in self._layout_ids:
            layout = Layout(*np.array(key, np.int64).T)
            cursor = self._db.execute("INSERT INTO layouts (entries) VALUES (?)", (layout.as_bytes(),))
            self._layout_ids[key] = int(cursor.lastrowid or 0)
            self._layouts[self._layout_ids[key]] = layout
        return self._layout_ids[key]
