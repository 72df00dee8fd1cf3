"""Which lines an address asks for, read from its runs: for the figure, the table below it and the CSV."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeglass_dashboards.by_rank import RankSpread
from edgeglass_dashboards.kept import Kept, state_of_run
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.overlay import COLUMNS, Axis, Line, axis_of, whole_of
from edgeglass_diag.figures.rank_spread import PARTS, Place, spread_of
from edgeglass_diag.figures.reduced import Floats, Ints, shown, smoothed
from edgeglass_diag.signals import Signal, recorded
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run
from edgeglass_diag.store.matrix import Matrix
from edgeglass_diag.store.pieces import EXACT, spans
from edgeglass_diag.store.series import Series

Source = Run | RankSpread
"""What lines are read of."""

MOST_LINES = 48
"""Lines in one figure; more cannot be told apart."""
DEFAULT = (LOSS_TOTAL, LOSS_CHANCE)
"""What is shown where the address names nothing."""


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The lines that are drawn, and how many more were asked for."""

    lines: tuple[Line, ...]
    left_out: int = 0


def chosen_signals(view: View, runs: Mapping[str, Source]) -> list[Signal]:
    """Return the signals that the address names and a run has; the loss and its chance where it names none."""
    known = {str(signal) for run in runs.values() for signal in run.signals}
    named = [signal for name in view.show if (signal := recorded(name)) is not None]
    return [signal for signal in dict.fromkeys(named if view.show else DEFAULT) if str(signal) in known]


def sites_by_signal(runs: Mapping[str, Source], signals: Sequence[Signal]) -> dict[Signal, list[str]]:
    """Return the sites of each signal over all runs, in order of execution."""
    found: dict[Signal, list[str]] = {}
    for signal in signals:
        sites = [site for run in runs.values() if signal in run.signals for site in run.sites_of(signal)]
        found[signal] = list(dict.fromkeys(sites))
    return found


_DRAWN: Kept[Overlaid] = Kept(4)
"""What was read of runs: figure, table and words of one answer share it, and the next answer where nothing is new."""


def overlaid(view: View, runs: Mapping[str, Source]) -> Overlaid:
    """Return the lines of an address.

    A signal is drawn at those of the chosen sites that it has; where it has none of them, as the lowest, the median and
    the highest of all its sites. The run's own signals have one place.

    Args:
        view: of the address.
        runs: open, by what they are called.
    """
    if not runs:
        return Overlaid(())
    asked = view, tuple((name, _state(run)) for name, run in runs.items())
    return _DRAWN.get(asked, lambda: _read_all(view, runs))


def _state(run: Source) -> Hashable:
    return run.state if isinstance(run, RankSpread) else state_of_run(run)


def _read_all(view: View, runs: Mapping[str, Source]) -> Overlaid:
    signals = chosen_signals(view, runs)
    sites = sites_by_signal(runs, signals)
    wanted = [(signal, site) for signal in signals for site in _places(view, sites[signal])]
    slots = _slots(wanted, of_ranks=any(isinstance(run, RankSpread) for run in runs.values()))
    lines: list[Line] = []
    left_out = 0
    for number, (name, run) in enumerate(runs.items()):
        for signal, site in wanted:
            if signal not in run.signals:
                continue
            if len(lines) >= MOST_LINES:
                left_out += _width(site, of_ranks=isinstance(run, RankSpread))
                continue
            for offset, (words, steps, values) in enumerate(_read(run, signal, site)):
                slot, place = slots[signal, site]
                style = (number, place + offset) if len(runs) > 1 else (slot, offset)
                lines.append(_line(view, name if len(runs) > 1 else "", signal, words, style, steps, values))
    return Overlaid(tuple(lines), left_out)


def _slots(
    wanted: Sequence[tuple[Signal, str | None]], *, of_ranks: bool
) -> dict[tuple[Signal, str | None], tuple[int, int]]:
    """The number of each in the whole figure, and that of its first line in its panel."""
    taken: dict[Axis, int] = {}
    found = {}
    for index, (signal, site) in enumerate(wanted):
        axis = axis_of(signal)
        found[signal, site] = index, taken.get(axis, 0)
        taken[axis] = taken.get(axis, 0) + _width(site, of_ranks=of_ranks)
    return found


def _width(site: str | None, *, of_ranks: bool) -> int:
    """Lines of a signal at a site, or over all of them."""
    return len(PARTS) if site is None or of_ranks else 1


def _places(view: View, sites: Sequence[str]) -> list[str | None]:
    """The sites that a signal is drawn at; None for all of them together."""
    asked = [site for site in view.sites if site in sites]
    if asked:
        return list(asked)
    return list(sites) if len(sites) <= 1 else [None]


def _read(run: Source, signal: Signal, site: str | None) -> list[Place]:
    """Words for the place, steps and values of the lines of a signal at a site, or of all sites."""
    component = signal.drawing.component if signal.drawing is not None else "mean"
    if isinstance(run, RankSpread):
        return _over_ranks(run, signal, site, component)
    if site is not None:
        series = run.series(signal, site, component=component)  # type: ignore[arg-type]
        return [(site, series.steps, series.values)] if len(series.steps) else []
    return _over_sites(run, signal, component)


def _over_ranks(spread: RankSpread, signal: Signal, site: str | None, component: str) -> list[Place]:
    """The spread over the ranks at a site; where there are several sites, of their median."""
    ranks = {rank: run for rank, run in spread.ranks.items() if signal in run.signals}
    if site is not None:
        series = {rank: run.series(signal, site, component=component) for rank, run in ranks.items()}  # type: ignore[arg-type]
        return spread_of({rank: one for rank, one in series.items() if len(one.steps)}, site)
    medians = {rank: _over_sites(run, signal, component)[:1] for rank, run in ranks.items()}
    of_all = {
        rank: Series(steps, np.asarray(values, np.float64))
        for rank, found in medians.items()
        for _, steps, values in found
    }
    return spread_of(of_all, "median of all sites")


def _over_sites(run: Run, signal: Signal, component: str) -> list[Place]:
    """The lowest, the median and the highest of all sites at each step; a site that is NaN makes the highest NaN."""
    sites = run.sites_of(signal)
    pieces = [
        _over_rows(run.matrix(signal, bins=EXACT, component=component, sites=sites, steps=span))  # type: ignore[arg-type]
        for span in spans([run], signal, len(sites))
    ]
    if not pieces:
        return []
    steps, *lines = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return [(f"{name} of {len(sites)} sites", steps, values) for name, values in zip(PARTS, lines, strict=True)]


def _over_rows(matrix: Matrix) -> tuple[Ints, Floats, Floats, Floats]:
    """Steps at which something was measured, and the median, the highest and the lowest of the rows there."""
    steps = np.array(matrix.edges, np.int64)
    measured = np.flatnonzero((matrix.count > 0).any(axis=0))
    values = np.where(matrix.nans > 0, np.nan, matrix.high)[:, measured]
    lost = np.flatnonzero((matrix.nans[:, measured] > 0).any(axis=0))
    known = np.flatnonzero(~np.isnan(values).all(axis=0))
    low, middle, high = (np.full(values.shape[1], np.nan) for _ in range(3))
    low[known] = np.nanmin(values[:, known], axis=0)
    middle[known] = np.nanmedian(values[:, known], axis=0)
    high[known] = np.nanmax(values[:, known], axis=0)
    high[lost] = np.nan
    return steps[measured], middle, high, low


def _line(view: View, run: str, signal: Signal, site: str, style: tuple[int, int], steps: Ints, values: Floats) -> Line:
    averaged = smoothed(values, view.smooth / 100) if view.smooth else None
    kept = shown(steps, values, columns=COLUMNS, span=view.span)
    return Line(
        run, signal, site, *style, steps[kept], values[kept], None if averaged is None else averaged[kept],
        whole_of(steps, values),
    )  # fmt: skip
