"""Figures of an evaluation. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeglass_diag.evaluation.frames import curve_frame, density_frame, occurrence_frame, recall_frame, spectrum_frame
from edgeglass_diag.evaluation.pairs import PairSample
from edgeglass_diag.evaluation.projection import METHODS, Projection, project
from edgeglass_diag.figures.embeddings import density_figure, hubness_figure, projection_figure, spectrum_figure
from edgeglass_diag.figures.retrieval import mrl_figure, recall_bars

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def pictures(
    result: dict[str, Any], sample: PairSample, templates: Mapping[str, go.layout.Template], *, seed: int = 0
) -> dict[str, dict[str, go.Figure]]:
    """Return figures of recalls, Matryoshka curve, projections, cosines, spectrum and hubness, by theme and name.

    Args:
        result: what ``eval --json`` prints.
        sample: pairs of the same embeddings.
        templates: of the figures, by theme; projections and densities are computed once for all themes.
        seed: of all draws.
    """
    projections = {method: project(sample, method, seed=seed) for method in METHODS}
    density, spectrum, hubs = density_frame(sample, seed=seed), spectrum_frame(sample), occurrence_frame(sample)
    return {
        theme: {
            "recall": recall_bars(recall_frame(result), template),
            "mrl": curve_figure(result, template),
            **{method: projected_figure(one, template) for method, one in projections.items()},
            "similarity": density_figure(density, template),
            "spectrum": spectrum_figure(spectrum, template),
            "hubness": hubness_figure(hubs, template),
        }
        for theme, template in templates.items()
    }


def projected_figure(made: Projection, template: go.layout.Template, labels: pd.Series | None = None) -> go.Figure:
    """Return the figure of a projection with its notes below; ``labels`` has the text of each pair."""
    note = "\n".join(filter(None, ("; ".join(made.notes), made.settings)))
    return projection_figure(made.points, template, axes=made.axes, note=note, empty=made.empty, labels=labels)


def curve_figure(result: dict[str, Any], template: go.layout.Template) -> go.Figure:
    """Return the figure of the Matryoshka curve, with its knee and the mean chance R@1 of both directions."""
    knee = (result.get("curve") or {}).get("knee")
    chance = sum(result["chance"][way]["R@1"] for way in ("i2t", "t2i")) / 2
    return mrl_figure(curve_frame(result), template, knee=knee and knee["dims"], chance=chance)
