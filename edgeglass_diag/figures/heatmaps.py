"""Site x step: one signal at many places over the training. Matrices in, plotly figures out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import plotly.graph_objects as go

from edgeglass_diag import site_paths
from edgeglass_diag.figures.scales import Scale
from edgeglass_diag.figures.step_axis import TITLE, whole_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LABEL = 30
_ROWS_LABELLED = 40
_FLOOR = 1e-30


class SiteSteps(Protocol):
    """A signal of S sites in T columns of one step or more, as ``Run.matrix`` gives it.

    ``edges`` are the first steps of the columns, ``low`` and ``high`` (S, T) the extremes in a cell, ``nans`` how many
    values of it are NaN.
    """

    @property
    def sites(self) -> list[str]:
        """Rows."""

    @property
    def edges(self) -> list[int]:
        """Columns."""

    @property
    def low(self) -> NDArray[np.float32]:
        """Lowest numbers."""

    @property
    def high(self) -> NDArray[np.float32]:
        """Highest numbers."""

    @property
    def nans(self) -> NDArray[np.int64]:
        """Counts of NaN."""


def site_heatmap(matrix: SiteSteps, scale: Scale, template: go.layout.Template) -> go.Figure:
    """One row per site in order of execution, one column per recorded step, bounds marked at the colour bar.

    A cell without a finite number that was recorded nevertheless is struck through.

    Args:
        matrix: sites, steps and the ends of the values.
        scale: how the signal is drawn.
        template: one of ``TEMPLATES``.
    """
    import numpy as np

    shown = shown_values(matrix, scale)
    colors = color_values(shown, scale)
    said = "%{customdata:.4g}" if scale.logarithmic else "%{z:.4g}"
    low, high = _extent(colors, scale)
    figure = go.Figure(
        go.Heatmap(
            x=list(matrix.edges), y=list(matrix.sites), z=colors, zmin=low, zmax=high,
            customdata=shown if scale.logarithmic else None, colorscale=scale.colors,
            colorbar=_colorbar(scale, low, high), hoverongaps=False,
            xgap=0, ygap=1 if len(matrix.sites) <= _ROWS_LABELLED else 0,
            hovertemplate=f"<b>%{{y}}</b><br>step %{{x}}<br>{scale.label.lower()} {said}<extra></extra>",
        ),
        layout=_layout(matrix.sites, template),
    )  # fmt: skip
    # As arrays of objects, as `add_line` does: of a list plotly looks at each entry.
    strokes = {axis: np.array(values, dtype=object) for axis, values in broken_strokes(matrix).items()}
    figure.add_scatter(
        **strokes, mode="lines", showlegend=False, name="not finite", connectgaps=False,
        line={"width": max(2, min(7, 400 // max(1, len(matrix.sites)))), "color": "#D55E00", "simplify": False},
        hovertemplate="<b>%{y}</b><br>step %{customdata}<br>not a finite number<extra></extra>",
    )  # fmt: skip
    return whole_steps(figure)


def color_values(values: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    """What the colours stand for: the values, or their powers of ten; NaN where they are not finite."""
    import numpy as np

    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    if not scale.logarithmic:
        return finite
    return np.log10(np.maximum(finite, _FLOOR)).astype(np.float32)


def shown_values(matrix: SiteSteps, scale: Scale) -> NDArray[np.float32]:
    """The end of each cell that a heatmap shows: the lowest where low is what matters, else the highest."""
    return matrix.low if scale.extreme == "low" else matrix.high


def broken_strokes(matrix: SiteSteps) -> dict[str, list[Any]]:
    """Strokes through recorded values that are NaN or infinite: x, y and customdata (the steps in words) of a line.

    Cells side by side have one stroke, from border to border as plotly draws cells, halfway to the next ones:
    a mark for each of a hundred thousand cells of a run that has diverged would stop the browser.
    """
    import numpy as np

    broken = (matrix.nans > 0) | np.isinf(matrix.high) | np.isinf(matrix.low)
    steps = matrix.edges
    inner = [(before + after) / 2 for before, after in pairwise(steps)]
    ends = [2 * steps[0] - inner[0], *inner, 2 * steps[-1] - inner[-1]] if inner else [steps[0] - 0.5, steps[0] + 0.5]
    found: dict[str, list[Any]] = {"x": [], "y": [], "customdata": []}
    edges = np.diff(np.pad(broken.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for row, first in np.argwhere(edges == 1).tolist():
        last = first + int(np.argmax(edges[row, first:] == -1))
        words = str(steps[first]) if last == first + 1 else f"{steps[first]} to {steps[last - 1]}"
        found["x"] += [ends[first], ends[last], None]
        found["y"] += [matrix.sites[row]] * 2 + [None]
        found["customdata"] += [words, words, None]
    return found


def short_names(sites: Sequence[str], *, longest: int = _LABEL) -> list[str]:
    """Site paths as labels: without what all of them begin or end with, and of long ones the end.

    >>> short_names(["image.layers.0.attention", "image.layers.1.attention"])
    ['layers.0', 'layers.1']
    >>> short_names(["image.layers.0.attention"], longest=14)
    ['….0.attention']
    """
    parts = [site_paths.parts(site) or [""] for site in sites]
    if len(set(sites)) > 1:
        shared, ending = _shared(parts), _shared([path[::-1] for path in parts])
        ending = min(ending, min(len(path) for path in parts) - shared - 1)
        digits = shared > 0 and all(path[shared].isdigit() for path in parts)
        parts = [path[shared - digits : len(path) - max(ending, 0)] for path in parts]
    return [_ending(path, longest) or "(model)" for path in parts]


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all paths begin with; of each at least one is left."""
    shared = 0
    while all(len(path) > shared + 1 and path[shared] == parts[0][shared] for path in parts):
        shared += 1
    return shared


def _ending(path: Sequence[str], longest: int) -> str:
    name = ".".join(path)
    while len(name) > longest and len(path) > 1:
        path = path[1:]
        name = "….".join(["", ".".join(path)])
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def height_of(rows: int) -> int:
    """The height of a heatmap in pixels: a line of text per row as long as that fits a screen."""
    return max(190, min(640, 90 + 20 * rows))


def _extent(colors: NDArray[np.float32], scale: Scale) -> tuple[float, float]:
    import numpy as np

    if scale.extent is not None:
        return scale.extent
    finite = colors[np.isfinite(colors) & (colors > math.log10(_FLOOR) if scale.logarithmic else True)]
    if not finite.size:
        return (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    return (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)


def _colorbar(scale: Scale, low: float, high: float) -> dict[str, Any]:
    """Ticks at round numbers, and at the healthy bounds with the word for them."""
    ticks = _decades(low, high) if scale.logarithmic else [low + (high - low) * i / 4 for i in range(5)]
    texts = [_tick(tick, scale) for tick in ticks]
    for bound, words in ((scale.low, "≥"), (scale.high, "≤")):
        if bound is None:
            continue
        place = math.log10(bound) if scale.logarithmic else bound
        if not low <= place <= high:
            continue
        near = [i for i, tick in enumerate(ticks) if abs(tick - place) < (high - low) / 12]
        ticks = [tick for i, tick in enumerate(ticks) if i not in near] + [place]
        texts = [text for i, text in enumerate(texts) if i not in near] + [f"<b>{words} {bound:.4g}</b>"]
    return {"tickvals": ticks, "ticktext": texts, "thickness": 14, "outlinewidth": 0, "ticks": "outside", "ticklen": 4}


def _tick(place: float, scale: Scale) -> str:
    if not scale.logarithmic:
        return f"{place:.3g}"
    return f"1e{place:g}" if place == int(place) else f"{10**place:.3g}"


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last - first < 1:
        return [low, high]
    step = max(1, math.ceil((last - first) / 6))
    return [float(tick) for tick in range(first, last + 1, step)]


def _layout(sites: Sequence[str], template: go.layout.Template) -> dict[str, Any]:
    names = short_names(sites)
    every = math.ceil(len(sites) / _ROWS_LABELLED) if sites else 1
    return {
        "template": template,
        "uirevision": "kept",
        "meta": {"pick": {"site": "y", "step": "x"}},
        "margin": {"l": 16 + 7 * max(map(len, names), default=0), "r": 116, "t": 8, "b": 58, "autoexpand": False},
        "height": height_of(len(sites)),
        "xaxis": {"title": {"text": TITLE}, "showgrid": False},
        "yaxis": {
            "range": [len(sites) - 0.5, -0.5], "type": "category", "tickmode": "array",
            "tickvals": list(sites)[::every],
            "ticktext": names[::every], "showgrid": False, "ticks": "",
        },
        "clickmode": "event",
        "hovermode": "closest",
    }  # fmt: skip
