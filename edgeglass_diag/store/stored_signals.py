"""Reads the signals of one store: as readings, as frames, and in few columns for heatmaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.records import Reading, UsageError
from edgeglass_diag.signals import Signal, find
from edgeglass_diag.store import frames
from edgeglass_diag.store.database import Database
from edgeglass_diag.store.gather import parts_of, signals_of, site_ids, site_names
from edgeglass_diag.store.left_out import thinned_signals
from edgeglass_diag.store.matrix import Component, Matrix, Span, check_bins, check_component, over_heads, over_sites
from edgeglass_diag.store.parts import Part
from edgeglass_diag.store.series import Series, series_of
from edgeglass_diag.thinning import ThinnedSignal

if TYPE_CHECKING:
    import pandas as pd


class StoredSignals:
    """The signals of one store.

    Attributes:
        folder: named in errors.
    """

    def __init__(self, folder: Path, db: Database) -> None:
        self.folder, self._db = folder, db

    @property
    def last_step(self) -> int:
        """The last recorded step, -1 when there is none."""
        [[newest]] = self._db.rows("SELECT MAX(step) FROM windows")
        return -1 if newest is None else int(newest)

    @property
    def windows(self) -> int:
        """How many windows were recorded."""
        return int(self._db.rows("SELECT COUNT(*) FROM windows")[0][0])

    def window_times(self, *, most: int) -> list[tuple[int, float]]:
        """Step and end of the newest recorded windows, ``most`` at most, by step; seconds since the epoch."""
        with self._db.readable():
            newest = self._db.select("windows", "ORDER BY step DESC LIMIT ?", (most,))
        return [(int(step), float(time)) for step, time in reversed(newest)]

    @property
    def signals(self) -> list[Signal]:
        """All recorded signals by their paths of today; names that no signal of this version has are left out."""
        with self._db.readable():
            return signals_of(self._db)

    @property
    def thinned(self) -> list[ThinnedSignal]:
        """The signals of which old windows are left out, as the store is large; all others are kept whole."""
        with self._db.snapshot():
            return thinned_signals(self._db)

    def readings(
        self, signal: str, *, site: str | None = None, after: int = 0, thinned: bool = False
    ) -> list[tuple[int, Reading]]:
        """Readings of one signal with their rows, by step; only those with a row above ``after``.

        The row is the number of the write: it rises with each, what was written together shares it, and
        it stays with a reading for ever. A signal that the run has not recorded has none. Of a long series that is
        ``thinned`` it is what ``kept_indices`` chooses.

        Raises:
            UsageError: for a path that is none of a signal.
        """
        named = find(signal)
        with self._db.snapshot():
            wanted = None if site is None else site_ids(self._db, [site]).values()
            found = frames.windows(parts_of(self._db, named, after=after), wanted, after, thinned=thinned)
            names = {number: site for number in wanted} if site is not None and wanted else site_names(self._db)
        return [
            (seq, Reading(step, names[number], named, values))
            for step, seq, entries in found
            for number, values in entries
        ]

    def windows_of_all(self) -> dict[int, list[Reading]]:
        """Return readings of all signals by step, of a long series what ``kept_indices`` chooses."""
        found: dict[int, list[Reading]] = {}
        with self._db.snapshot():
            names = site_names(self._db)
            for signal in signals_of(self._db):
                for step, _, entries in frames.windows(parts_of(self._db, signal), None, 0, thinned=True):
                    window = found.setdefault(step, [])
                    window += [Reading(step, names[number], signal, values) for number, values in entries]
        return found

    def table_of(self, signal: Signal, site: str | None) -> pd.DataFrame:
        """Return the readings of this store as a frame with columns step, site, component, value."""
        with self._db.snapshot():
            wanted = None if site is None else site_ids(self._db, [site]).values()
            return frames.table(parts_of(self._db, signal), wanted, site_names(self._db))

    def matrix(
        self,
        signal: str,
        *,
        bins: int = 600,
        component: Component = "mean",
        sites: Sequence[str] | None = None,
        after: int = 0,
        steps: Span | None = None,
    ) -> Matrix:
        """A signal over sites and steps in at most ``bins`` columns, for a heatmap.

        No extreme is lost: a cell has the lowest and the highest of what is drawn of each step. Where there are at
        most ``bins`` steps, each has a column of its own. Of several ranks it is the lowest's.

        Args:
            signal: path of a signal, as ``attention/entropy``.
            bins: most columns.
            component: what is drawn of the heads of a step: their ``mean``, ``min`` or ``max``, or one head by number.
            sites: rows and their order; all that have readings where None. One without readings is a row of count 0.
            after: leave out rows up to this one, the ``last_row`` of an earlier matrix.
            steps: first and last step that are taken; all where None.

        Raises:
            UsageError: for a signal that this run has not recorded, and other values of bins and component.
        """
        check_bins(bins)
        check_component(component)
        with self._db.snapshot():
            parts = parts_of(self._db, self.recorded(signal, [self]), after=after)
            names = self._in_order(parts) if sites is None else list(dict.fromkeys(sites))
            ids = site_ids(self._db, names)
            wanted = [ids.get(name, -1) for name in names]
            columns, grid = over_sites(parts, wanted, bins, component, after, steps)
        last_row = max((int(part.seqs[-1]) for part in parts), default=after)
        last_step = int(columns.steps[-1]) if columns.count else -1
        return Matrix(names, columns.edges, grid.low, grid.high, grid.nans, grid.count, last_row, last_step)

    def series(self, signal: str, site: str, *, component: Component = "mean") -> Series:
        """All readings of a signal at one site by step, none of them summarised; of several ranks the lowest's.

        Args:
            signal: path of a signal, as ``gradient/norm``.
            site: path of a site, ``""`` for the run as a whole; one without readings has none.
            component: what is taken of the heads of a step: their ``mean``, ``min`` or ``max``, or one by number.

        Raises:
            UsageError: for a signal that this run has not recorded, and other values of component.
        """
        check_component(component)
        with self._db.snapshot():
            parts = parts_of(self._db, self.recorded(signal, [self]))
            return series_of(parts, site_ids(self._db, [site]).get(site, -1), component)

    def sites_of(self, signal: str) -> list[str]:
        """Return the sites at which a signal was measured, in order of first execution.

        Raises:
            UsageError: for a signal that this run has not recorded.
        """
        with self._db.snapshot():
            return self._in_order(parts_of(self._db, self.recorded(signal, [self])))

    def heads(self, signal: str, site: str, *, bins: int = 600, after: int = 0) -> pd.DataFrame:
        """The history of each component of a site: a frame with columns step, component, low, high and nans.

        Steps are first steps of at most ``bins`` columns as in ``matrix``; ``low`` and ``high`` are NaN where there
        are none but ``nans`` NaN.

        Raises:
            UsageError: for a signal that this run has not recorded, and bins below 1.
        """
        check_bins(bins)
        with self._db.snapshot():
            parts = parts_of(self._db, self.recorded(signal, [self]), after=after)
            columns, grid = over_heads(parts, site_ids(self._db, [site]).get(site, -1), bins, after)
        return frames.cells(columns.edges, grid)

    def recorded(self, path: str, stores: Iterable[StoredSignals]) -> Signal:
        """Return the signal with this path, which one of the stores must have recorded.

        Raises:
            UsageError: if none has.
        """
        signal = find(path)
        known = sorted({name for store in stores for name in store.signals})
        if signal not in known:
            raise UsageError(f"{self.folder} has not recorded {path!r}; it has: {', '.join(known) or 'none'}")
        return signal

    def _in_order(self, parts: Sequence[Part]) -> list[str]:
        """Sites of the parts in order of first execution, others behind."""
        names = site_names(self._db)
        found = dict.fromkeys(names[number] for part in parts for number in part.layout.sites.tolist())
        order = dict(self._db.rows("SELECT path, MIN(position) FROM sites GROUP BY path"))
        return sorted(found, key=lambda name: order.get(name, len(order) + len(found)))
