"""Writes the readings of a window as slices, and has them compacted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np

from edgeglass_diag.records import Reading
from edgeglass_diag.store.compaction import Compactor
from edgeglass_diag.store.layouts import Layout, pack
from edgeglass_diag.store.schema import insert


class Slices:
    """The names, layouts and the running number of one store that is written.

    Args:
        db: the open store; transactions are the caller's. After one that was rolled back, make another of these.
        ranks: stores that the run has.
    """

    def __init__(self, db: sqlite3.Connection, *, ranks: int = 1) -> None:
        self._db = db
        self._ids: dict[str, dict[str, int]] = {
            table: {name: int(number) for number, name in db.execute(f"SELECT id, name FROM {table}")}
            for table in ("names", "signals")
        }
        self._layouts = {
            int(number): Layout.parse(kept) for number, kept in db.execute("SELECT id, entries FROM layouts")
        }
        self._layout_ids = {layout.key: number for number, layout in self._layouts.items()}
        self._seq = max(
            int(db.execute(query).fetchone()[0])
            for query in ("SELECT COALESCE(MAX(seq), 0) FROM slices", "SELECT COALESCE(MAX(last), 0) FROM stretches")
        )
        self._compactor = Compactor(db, self._layouts.__getitem__, ranks=ranks)

    def compact(self) -> None:
        """Turn round what is due, a little with each window."""
        self._compactor.work()

    def write(self, readings: Iterable[Reading]) -> None:
        """Append the readings of a window, one slice for each signal and step."""
        self._seq += 1
        slices: dict[tuple[str, int], list[Reading]] = {}
        for reading in readings:
            slices.setdefault((reading.signal, reading.step), []).append(reading)
        rows = [
            (self._id("signals", signal), self._seq, step, self._layout(group), pack(group))
            for (signal, step), group in slices.items()
        ]
        insert(self._db, "slices", rows)
        for number, _, _, layout, _ in rows:
            self._compactor.add(number, self._layouts[layout].values)

    def _id(self, table: str, name: str) -> int:
        known = self._ids[table]
        number = known.get(name)
        if number is None:
            number = known[name] = 1 + len(known)
            insert(self._db, table, [(number, str(name))])
        return number

    def _layout(self, readings: Sequence[Reading]) -> int:
        names = self._ids["names"]
        key = tuple([(names.get(one.site) or self._id("names", one.site), len(one.values)) for one in readings])
        number = self._layout_ids.get(key)
        if number is None:
            layout = Layout(*np.array(key, np.int64).T)
            number = self._layout_ids[key] = 1 + len(self._layout_ids)
            self._layouts[number] = layout
            insert(self._db, "layouts", [(number, layout.as_bytes())])
        return number
