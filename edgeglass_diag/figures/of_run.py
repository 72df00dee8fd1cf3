"""The figures of a run by their name, and what they are drawn from: for notebooks, the report and the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from edgeglass_diag import site_paths
from edgeglass_diag.figures.clipping import clipping_figure
from edgeglass_diag.figures.heads import heads_figure
from edgeglass_diag.figures.heatmaps import site_heatmap
from edgeglass_diag.figures.lines import loss_figure, recall_figure
from edgeglass_diag.figures.profile import Stage, signal_profile
from edgeglass_diag.figures.scales import DRAWN, scale_of
from edgeglass_diag.figures.style import TEMPLATES, empty_figure
from edgeglass_diag.signals import Signal, metric, recorded
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY
from edgeglass_diag.signals.embeddings import EMBEDDING_SAMPLE_SIGNAL
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, GRADIENT_NORM_CLIPPED, UPDATE_RATIO
from edgeglass_diag.sites import EmbeddingSite, ModuleSite, Side, Site

if TYPE_CHECKING:
    import pandas as pd

Run = Any
"""An ``edgeglass_diag.Run``: figures know no store."""

LOSSES = (LOSS_TOTAL, LOSS_CHANCE)
RECALLS = (metric("i2t/R@1"), metric("t2i/R@1"), metric("n"))
NORMS = (GRADIENT_NORM, GRADIENT_NORM_CLIPPED)
"""The signals of the run as a whole that ``loss``, ``recall`` and ``clipping`` draw, in the order they are drawn."""

HEATMAPS = {"attention": ATTENTION_ENTROPY, "gradients": GRADIENT_NORM, "updates": UPDATE_RATIO}
"""Short names of signals."""

_PROFILE = "signal"
_LINES: dict[str, tuple[Callable[..., go.Figure], tuple[Signal, ...]]] = {
    "loss": (loss_figure, LOSSES),
    "recall": (recall_figure, RECALLS),
    "clipping": (clipping_figure, NORMS),
}
NAMES = (*_LINES, *HEATMAPS, _PROFILE, *DRAWN)
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
    template = TEMPLATES["dark" if dark else "light"]
    if name in _LINES:
        draw, signals = _LINES[name]
        cuts = {"cuts": [cut.step for cut in run.cuts]} if draw is loss_figure else {}
        return draw(*(series_of(run, signal) for signal in signals), template, **cuts)
    if name == _PROFILE and site is None:
        stages = profile_at(run, step)[1]
        return signal_profile(stages, template) if stages else empty_figure(template, "no sample signal was recorded")
    short = {**HEATMAPS, _PROFILE: ACTIVATION_SAMPLE_SIGNAL}
    signal = short.get(name) or recorded(name)
    if signal is None or signal not in DRAWN:
        raise ValueError(f"figure: expected one of {', '.join(NAMES)}, got {name!r}")
    return _of_signal(run, signal, site, template)


def _of_signal(run: Run, signal: Signal, site: str | None, template: go.layout.Template) -> go.Figure:
    scale = scale_of(signal, run.rules)
    if site is not None:
        frame = read_heads(run, signal, site, bins=BINS)
        return (
            empty_figure(template, f"no {signal} at {site}") if frame is None else heads_figure(frame, scale, template)
        )
    matrix = read_heatmap(run, signal, component=scale.component)
    return empty_figure(template, f"no {signal}") if matrix is None else site_heatmap(matrix, scale, template)


def series_of(run: Run, signal: Signal) -> pd.DataFrame:
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


def read_matrix(run: Run, signal: Signal, *, component: str, bins: int = _EXACT, after: int = 0) -> Any | None:
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


def read_heatmap(run: Run, signal: Signal, *, component: str) -> Any | None:
    """The matrix of a signal in as many columns as can be drawn at once; None where nothing was recorded."""
    newest = read_newest(run, signal, component=component)
    rows = 0 if newest is None else len(newest.sites)
    return None if newest is None else read_matrix(run, signal, component=component, bins=columns_for(rows))


def read_newest(run: Run, signal: Signal, *, component: str) -> Any | None:
    """The matrix of the newest windows alone; the whole where they have nothing of the signal.

    Rows count writes, of which there is one at least for each window: those above the number of windows less some hold
    the newest windows.
    """
    newest = read_matrix(run, signal, component=component, after=max(0, run.windows - _NEWEST))
    return newest if newest is not None else read_matrix(run, signal, component=component)


def read_heads(run: Run, signal: Signal, site: str, *, bins: int = _EXACT, after: int = 0) -> pd.DataFrame | None:
    """The history of the components of a site with what was written after a row; None where nothing was."""
    if signal not in run.signals:
        return None
    frame = run.heads(signal, site, bins=bins, after=after)
    return None if frame.empty else frame


def profile_at(run: Run, step: int | None) -> tuple[int | None, list[Stage]]:
    """The recorded step at or before ``step`` (the newest where None), and the stages of the model there.

    Modules in order of execution, at the end each side's widest embedding as the loss compares it.
    """
    found = _column(run, ACTIVATION_SAMPLE_SIGNAL, step)
    if found is None:
        return None, []
    at, values = found
    limit = scale_of(ACTIVATION_SAMPLE_SIGNAL, run.rules).low or 0.0
    stages = [
        Stage(site.path, values[site.path], site.parents, site.class_name, limit)
        for site in run.sites
        if isinstance(site, ModuleSite) and site.path in values
    ]
    _, embeddings = _column(run, EMBEDDING_SAMPLE_SIGNAL, at) or (at, {})
    return at, stages + [
        Stage(side.path, embeddings[side.path], side.parents, side_name(side), limit)
        for side in widest_sides(site for site in run.sites if site.path in embeddings)
    ]


def _column(run: Run, signal: Signal, step: int | None) -> tuple[int, dict[str, float]] | None:
    """The newest column of a signal at or before a step, by site."""
    if signal not in run.signals:
        return None
    span = None if step is None else (0, step)
    newest = run.matrix(signal, bins=1, sites=[], steps=span).last_step
    if newest < 0:
        return None
    matrix = run.matrix(signal, bins=1, steps=(newest, newest))
    values = zip(matrix.sites, matrix.low[:, 0].tolist(), matrix.count[:, 0].tolist(), strict=True)
    return newest, {site: value for site, value, count in values if count}


def widest_sides(sites: Iterable[Site]) -> list[EmbeddingSite]:
    """Return, of each output that is compared, the widest embedding among these sites.

    Both outputs of one module, as of a compiled model, are two.
    """
    embeddings = sorted((site for site in sites if isinstance(site, EmbeddingSite)), key=lambda side: side.width)
    return list({site_paths.without_width(side.path): side for side in embeddings}.values())


def side_name(side: EmbeddingSite) -> str:
    """Return the word for a side; where it is neither image nor text what it is called in its path.

    >>> side_name(EmbeddingSite(path="head[:64]", side=Side.TEXT)), side_name(EmbeddingSite(path="left[:64]"))
    ('text', 'left')
    """
    return site_paths.without_width(side.path) if side.side is Side.UNKNOWN else str(side.side)
