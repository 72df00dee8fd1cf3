"""Where the image dies: the sample signal along the model, in order of execution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from edgeglass_diag.figures.heatmaps import short_names

_FLOOR = 1e-8


@dataclass(frozen=True, slots=True)
class Stage:
    """A module (or an embedding, the last of its side) at one step.

    Attributes:
        site: its path.
        signal: its sample signal, NaN where it is not a number.
        parents: paths of what flows into it.
        label: class of a module, side of an embedding.
        limit: the sample signal at and below which the output no longer depends on the sample.
    """

    site: str
    signal: float
    parents: tuple[str, ...] = ()
    label: str = ""
    limit: float = 0.0

    @property
    def is_dead(self) -> bool:
        """Whether the output no longer depends on the sample, or is no finite number."""
        return not self.limit < self.signal < math.inf


def first_that_loses(stages: Sequence[Stage]) -> Stage | None:
    """The first stage, in order of execution, without signal although something that flows into it has some.

    A module that is fed no sample (a projection of learned latents) loses nothing.

    >>> first_that_loses([Stage("a", 0.5), Stage("latents", 0.0), Stage("b", 0.0, ("a", "latents"))]).site
    'b'
    """
    known: Mapping[str, Stage] = {stage.site: stage for stage in stages}
    for stage in stages:
        fed = [known[parent] for parent in stage.parents if parent in known]
        if stage.is_dead and any(not parent.is_dead for parent in fed):
            return stage
    return None


def fed_sites(stages: Sequence[Stage]) -> set[str]:
    """The stages that some stage before them with signal flows into, over any number of others."""
    carrying = {stage.site for stage in stages if not stage.is_dead}
    fed: set[str] = set()
    for stage in stages:
        if carrying.intersection(stage.parents) or fed.intersection(stage.parents):
            fed.add(stage.site)
    return fed


def signal_profile(stages: Sequence[Stage], template: go.layout.Template) -> go.Figure:
    """Sample signal of each stage as a point, from the first module at the top to the embeddings at the bottom.

    Args:
        stages: in order of execution.
        template: one of ``TEMPLATES``.
    """
    lost = first_that_loses(stages)
    figure = go.Figure(layout=_layout(stages, template))
    fed = fed_sites(stages)
    unfed = [stage for stage in stages if stage.is_dead and stage.site not in fed]
    colors = template.layout.colorway
    groups = (
        ([s for s in stages if not s.is_dead], "depends on the sample", colors[0], "circle"),
        ([s for s in stages if s.is_dead and s.site in fed], "does not, although it should", colors[2], "x"),
        (unfed, "is fed no sample", colors[1], "circle-open"),
    )
    for group, name, color, symbol in groups:
        figure.add_scatter(
            x=[_place(stage.signal) for stage in group],
            y=[stage.site for stage in group],
            name=name,
            mode="markers",
            customdata=[[stage.signal, stage.label] for stage in group],
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate="<b>%{y}</b> %{customdata[1]}<br>sample signal %{customdata[0]:.4g}<extra></extra>",
        )
    limit = max((stage.limit for stage in stages), default=0.0)
    figure.add_vrect(x0=_FLOOR / 3, x1=limit, fillcolor="#D55E00", opacity=0.08, line_width=0, layer="below")
    figure.add_vline(x=limit, line={"dash": "dash", "width": 1.5, "color": "#888888"}, layer="below")
    if lost is not None:
        figure.add_annotation(
            x=math.log10(_place(lost.signal)), y=lost.site, text="<b>lost here</b>", showarrow=True, arrowhead=2,
            ax=60, ay=0, xanchor="left", arrowcolor=template.layout.font.color,
        )  # fmt: skip
    return figure


def _place(signal: float) -> float:
    return max(signal, _FLOOR) if math.isfinite(signal) else _FLOOR


def _layout(stages: Sequence[Stage], template: go.layout.Template) -> dict[str, object]:
    sites = [stage.site for stage in stages]
    every = math.ceil(len(sites) / 64) if sites else 1
    return {
        "template": template,
        "uirevision": "kept",
        "meta": {"pick": {"site": "y"}},
        "clickmode": "event",
        "hovermode": "closest",
        "margin": {"l": 8, "r": 12, "t": 36, "b": 8},
        "height": max(220, min(1100, 110 + 17 * len(sites))),
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "xaxis": {
            "type": "log", "range": [math.log10(_FLOOR) - 0.2, 0.4], "tickformat": ".0e", "dtick": 2, "tickangle": 0,
            "ticklabeloverflow": "allow",
            "title": {"text": "sample signal"},
        },
        "yaxis": {
            "type": "category", "categoryorder": "array", "categoryarray": sites, "autorange": "reversed",
            "tickmode": "array", "tickvals": sites[::every], "ticktext": short_names(sites, longest=34)[::every],
            "ticks": "",
        },
    }  # fmt: skip
