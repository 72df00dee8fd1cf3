"""Turns many slices of a signal into stretches, a little with every window."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import groupby

from edgeglass_diag.store.layouts import Layout
from edgeglass_diag.store.parts import Slices, store
from edgeglass_diag.store.thinner import thin, windows_of_a_stretch

WINDOWS = 248
"""Windows of a stretch at most; with many values in a signal, or in all signals, they are fewer. Two blocks of so many
numbers (8 bytes each, and some 30 of the row) lie on a page of SQLite's 4096 bytes; of 256 it is one, and half of the
store is empty."""

VALUES = 2**20
"""About so many values are turned round at once, which bounds the pause: some 0.05 s."""

FEWEST = 16


class Compactor:
    """Knows how much of each signal lies in slices, and turns the most overdue signal into stretches.

    The signals of a run all begin with the first window and would all be due at once: one is taken per window, one
    more for each 64 that are waiting.
    """

    def __init__(self, db: sqlite3.Connection, layout: Callable[[int], Layout], *, ranks: int = 1) -> None:
        self._db, self._layout, self._ranks = db, layout, ranks
        self._each: dict[int, int] = {}
        self._windows: Counter[int] = Counter()
        self._values: Counter[int] = Counter()
        for signal, number in db.execute("SELECT signal, layout FROM slices"):
            self.add(int(signal), layout(int(number)).values)

    def add(self, signal: int, values: int) -> None:
        """A slice of so many values was written."""
        self._each[signal] = values
        self._windows[signal] += 1
        self._values[signal] += values

    def work(self) -> None:
        """Turn what is due, inside of the caller's transaction."""
        most = min(WINDOWS, max(FEWEST, windows_of_a_stretch(sum(self._each.values()), self._ranks)))
        overdue = {signal: self._overdue(signal, most) for signal in self._windows}
        due = sorted((signal for signal in overdue if overdue[signal] >= 1), key=overdue.__getitem__, reverse=True)
        for signal in due[: 1 + len(due) // 64]:
            self._compact(signal)

    def _overdue(self, signal: int, most: int) -> float:
        windows = self._windows[signal]
        return max(windows / most, min(self._values[signal] / VALUES, windows / FEWEST))

    def _compact(self, signal: int) -> None:
        rows = self._db.execute(
            "SELECT layout, seq, step, data FROM slices WHERE signal = ? ORDER BY layout, seq, id", (signal,)
        ).fetchall()
        for layout, group in groupby(rows, key=lambda row: row[0]):
            _, seqs, steps, data = zip(*group, strict=True)
            store(self._db, signal, layout, Slices.of(self._layout(layout), seqs, steps, data))
            as_wide = sum(values >= self._each[signal] for values in self._each.values())
            thin(self._db, signal, layout, self._layout(layout), ranks=self._ranks, signals=as_wide)
        self._db.execute("DELETE FROM slices WHERE signal = ?", (signal,))
        self._windows[signal] = self._values[signal] = 0
