"""The figures of a run by their name, and what they are drawn from: for notebooks, the report and the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from edgeglass_diag.figures.clipping import clipping_figure
from edgeglass_diag.figures.heads import heads_figure
from edgeglass_diag.figures.heatmaps import site_heatmap
from edgeglass_diag.figures.lines import loss_figure, recall_figure
from edgeglass_diag.figures.profile import Stage, signal_profile
from edgeglass_diag.figures.scales import SCALES
from edgeglass_diag.figures.style import TEMPLATES, empty_figure

if TYPE_CHECKING:
    import pandas as pd

Run = Any
"""An ``edgeglass_diag.Run``: figures know no store."""

HEATMAPS = {"attention": "attention/entropy", "gradients": "gradient/norm", "updates": "update/ratio"}
"""Short names of signals."""

_LINES: dict[str, tuple[Callable[..., go.Figure], tuple[str, ...]]] = {
    "loss": (loss_figure, ("loss/total", "loss/chance")),
    "recall": (recall_figure, ("metric/i2t/R@1", "metric/t2i/R@1", "metric/n")),
    "clipping": (clipping_figure, ("gradient/norm", "gradient/norm_clipped")),
}
NAMES = (*_LINES, *HEATMAPS, "signal", *SCALES)
"""What ``figure_of`` can draw."""


def figure_of(
    run: Run, name: str, *, site: str | None = None, step: int | None = None, dark: bool = False
) -> go.Figure:
    """A figure of a run; where nothing was recorded it says so.

    Args:
        run: a run.
        name: ``loss``, ``recall``, ``clipping``, ``signal`` (the sample signal along the model), or a signal that is
            drawn as site x step: ``attention``, ``gradients``, ``updates`` or its own name, such as ``attention/top1``.
        site: of a signal the history of this site, one line per head.
        step: of ``signal`` the recorded step at or before this one; the newest where None.
        dark: for a dark ground.

    Raises:
        ValueError: for another name.
    """
    if name not in NAMES:
        raise ValueError(f"figure: expected one of {', '.join(NAMES)}, got {name!r}")
    template = TEMPLATES["dark" if dark else "light"]
    if name == "signal" and site is None:
        stages = profile_at(run, step)[1]
        return signal_profile(stages, template) if stages else empty_figure(template, "no sample signal was recorded")
    if name in _LINES:
        draw, signals = _LINES[name]
        return draw(*(series_of(run, signal) for signal in signals), template)
    return _of_signal(run, HEATMAPS.get(name, "activation/sample_signal" if name == "signal" else name), site, template)


def _of_signal(run: Run, signal: str, site: str | None, template: go.layout.Template) -> go.Figure:
    scale = SCALES[signal]
    if site is not None:
        frame = read_heads(run, signal, site, bins=BINS)
        return (
            empty_figure(template, f"no {signal} at {site}") if frame is None else heads_figure(frame, scale, template)
        )
    matrix = read_heatmap(run, signal, component=scale.component)
    return empty_figure(template, f"no {signal}") if matrix is None else site_heatmap(matrix, scale, template)


def series_of(run: Run, signal: str) -> pd.DataFrame:
    """A signal of the whole run, columns ``step`` and ``value``."""
    import pandas as pd

    rows = [(reading.step, reading.values[0]) for _, reading in run.readings(signal, site="")]
    return pd.DataFrame(rows, columns=["step", "value"])


BINS = 400
"""Columns of a heatmap at most, about three pixels each."""
_CELLS = 20_000
"""Cells of a heatmap, of which a browser draws each by itself at some 4 microseconds."""
_COLUMNS = 100
_EXACT = 10**9
_NEWEST = 8


def read_matrix(run: Run, signal: str, *, component: str, bins: int = _EXACT, after: int = 0) -> Any | None:
    """The matrix of a signal with what was written after a row; None where nothing was."""
    if signal not in run.signals:
        return None
    matrix = run.matrix(signal, bins=bins, component=component, after=after)
    return matrix if matrix.sites and matrix.edges else None


def columns_for(rows: int) -> int:
    """Columns of a heatmap of so many rows.

    >>> columns_for(30), columns_for(200), columns_for(5000)
    (400, 100, 100)
    """
    return max(_COLUMNS, min(BINS, _CELLS // max(1, rows)))


def read_heatmap(run: Run, signal: str, *, component: str) -> Any | None:
    """The matrix of a signal in as many columns as can be drawn at once; None where nothing was recorded."""
    newest = read_newest(run, signal, component=component)
    rows = 0 if newest is None else len(newest.sites)
    return None if newest is None else read_matrix(run, signal, component=component, bins=columns_for(rows))


def read_newest(run: Run, signal: str, *, component: str) -> Any | None:
    """The matrix of the newest windows alone; the whole where they have nothing of the signal.

    Rows count writes, of which there is one at least for each window: those above the number of windows less some hold
    the newest windows.
    """
    newest = read_matrix(run, signal, component=component, after=max(0, run.windows - _NEWEST))
    return newest if newest is not None else read_matrix(run, signal, component=component)


def read_heads(run: Run, signal: str, site: str, *, bins: int = _EXACT, after: int = 0) -> pd.DataFrame | None:
    """The history of the components of a site with what was written after a row; None where nothing was."""
    if signal not in run.signals:
        return None
    frame = run.heads(signal, site, bins=bins, after=after)
    return None if frame.empty else frame


def profile_at(run: Run, step: int | None) -> tuple[int | None, list[Stage]]:
    """The recorded step at or before ``step`` (the newest where None), and the stages of the model there.

    Modules in order of execution, at the end each side's widest embedding as the loss compares it.
    """
    found = _column(run, "activation/sample_signal", step)
    if found is None:
        return None, []
    at, values = found
    stages = [
        Stage(site.path, values[site.path], site.parents, site.label)
        for site in run.sites
        if site.kind == "module" and site.path in values
    ]
    _, embeddings = _column(run, "embedding/sample_signal", at) or (at, {})
    return at, stages + _widest(run, embeddings)


def _column(run: Run, signal: str, step: int | None) -> tuple[int, dict[str, float]] | None:
    """The newest column of a signal at or before a step, by site."""
    import numpy as np

    matrix = (read_newest if step is None else read_matrix)(run, signal, component="mean")
    if matrix is None:
        return None
    last = len(matrix.edges) if step is None else int(np.searchsorted(matrix.edges, step, side="right"))
    if last == 0:
        return None
    column = last - 1
    recorded = np.flatnonzero(matrix.count[:, column]).tolist()
    return int(matrix.edges[column]), {matrix.sites[row]: float(matrix.low[row, column]) for row in recorded}


def _widest(run: Run, embeddings: dict[str, float]) -> list[Stage]:
    """The widest of the embeddings ``SIDE[:WIDTH]`` of each side."""
    known = {site.path: site for site in run.sites if site.kind == "embedding"}
    widest: dict[str, str] = {}
    for site in sorted(embeddings, key=width_of):
        widest[site.rpartition("[:")[0]] = site
    return [Stage(s, embeddings[s], known[s].parents, known[s].label) for s in widest.values() if s in known]


def width_of(site: str) -> int:
    """The width that an embedding's site ``SIDE[:WIDTH]`` names, 0 without one."""
    digits = site.rpartition("[:")[2].rstrip("]")
    return int(digits) if digits.isdigit() else 0
