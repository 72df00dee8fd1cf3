"""The figures of the site page: one for each signal that was recorded at a module or in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor, digest
from edgeglass_dashboards.panels import Updated, whole
from edgeglass_dashboards.runs import reading
from edgeglass_diag.figures.of_run import read_heads
from edgeglass_diag.figures.scales import DRAWN, scale_of
from edgeglass_diag.figures.site import Line, site_figure, site_points
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.records import UsageError
from edgeglass_diag.signals import Signal
from edgeglass_diag.sites import Kind
from edgeglass_diag.store import Run

_BINS = 300
_MOST_LINES = 8


@dataclass(frozen=True)
class SitePanel:
    """A signal at some sites that belong together; new points are added to what is drawn."""

    signal: Signal
    sites: tuple[str, ...]
    others: tuple[str, ...] = ()
    empty: str = "This signal was not recorded here."

    @property
    def name(self) -> str:
        """The id of its graph."""
        return "site-" + self.signal.replace("/", "-")

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """New points; the whole where another place is shown, or twice as many points as are drawn at first."""
        shows = digest([self.signal, self.sites, self.others])
        known = before.knows(self.name, shows)
        if known and context.hold:
            return [], after
        run, scale = context.run, scale_of(self.signal, context.run.rules)
        row = run.windows  # before what is drawn: rows count writes, of which there is one at least for each window
        since = before.rows[self.name] if known else 0
        if known and row == since:
            return [], after
        lines = self._lines(run, after=since)
        if known and not lines:
            return [], after
        points, traces = before.drawn[self.name] if known else (0, 0)
        added = site_points(lines, scale)
        longest = max((len(steps) for steps in added["x"]), default=0)
        if known and not self.others and traces == len(added["x"]) and points + longest <= 2 * _BINS:
            size = (points + longest, traces)
            changes = [(self.name, {"extendData": [added, list(range(traces))]})]
            return changes, after.having(self.name, row=row, shows=shows, size=size)
        lines = self._lines(run) + self._of_others(context)
        figure = site_figure(lines, scale, TEMPLATES[context.scheme])
        figure.layout.uirevision = shows
        size = (max((len(line.frame) for line in lines), default=0), len(figure.data))
        return [whole(self.name, figure)], after.having(self.name, row=row, shows=shows, size=size)

    def _lines(self, run: Run, *, after: int = 0, of: str = "") -> list[Line]:
        found = [(site, read_heads(run, self.signal, site, bins=_BINS, after=after)) for site in self.sites]
        several = len(self.sites) > 1
        return [
            Line(" ".join(filter(None, (of, site.rpartition(".")[2] if several else ""))), frame, other=bool(of))
            for site, frame in found
            if frame is not None
        ]

    def _of_others(self, context: Context) -> list[Line]:
        lines = []
        for path in self.others:
            try:
                with reading(context.root, path) as other:
                    lines += self._lines(other, of=other.name)
            except UsageError:  # it is not offered any more, or cannot be read
                continue
        return lines


def panels_of(run: Run, site: str, others: Sequence[str] = ()) -> list[SitePanel]:
    """The signals that were recorded at a module or parameter, or at what belongs to it alone.

    Args:
        run: the run.
        site: path of the place.
        others: paths of runs whose lines are drawn beside.
    """
    places = related(run, site)
    panels = []
    for signal in (signal for signal in DRAWN if signal in run.signals):
        measured = run.matrix(signal, bins=1, sites=places)
        sites = tuple(name for name, count in zip(measured.sites, measured.count, strict=True) if count.sum())
        if sites:
            panels.append(SitePanel(signal, sites[:_MOST_LINES], tuple(others)))
    return panels


def related(run: Run, site: str) -> list[str]:
    """The place itself, the attention that it computes, and the parameters and embeddings that are its own."""
    paths = [site]
    for other in run.sites:
        own = other.kind is Kind.PARAMETER and other.path.rpartition(".")[0] == site and site
        computed = other.kind in (Kind.ATTENTION, Kind.EMBEDDING) and getattr(other, "module", "") == site
        if (own or computed) and other.path not in paths:
            paths.append(other.path)
    return paths
