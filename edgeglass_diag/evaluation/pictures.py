"""Everything an evaluation can be seen by, as figures. No torch."""

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
    """Return the recalls, Matryoshka curve, projections, cosines, spectrum and hubs, by theme and name.

    Args:
        result: what ``eval --json`` prints.
        sample: pairs of the same embeddings.
        templates: of the figures, by theme; what is slow is computed once for all.
        seed: of all draws.
    """
    seen = {method: project(sample, method, seed=seed) for method in METHODS}
    density, spectrum, found = density_frame(sample, seed=seed), spectrum_frame(sample), occurrence_frame(sample)
    return {
        theme: {
            "recall": recall_bars(recall_frame(result), template),
            "mrl": curve_figure(result, template),
            **{method: projected_figure(one, template) for method, one in seen.items()},
            "similarity": density_figure(density, template),
            "spectrum": spectrum_figure(spectrum, template),
            "hubness": hubness_figure(found, template),
        }
        for theme, template in templates.items()
    }


def projected_figure(seen: Projection, template: go.layout.Template, labels: pd.Series | None = None) -> go.Figure:
    """Return a projection with what belongs below it; ``labels`` is the text of each pair."""
    note = "\n".join(filter(None, ("; ".join(seen.notes), seen.settings)))
    return projection_figure(seen.points, template, axes=seen.axes, note=note, empty=seen.empty, labels=labels)


def curve_figure(result: dict[str, Any], template: go.layout.Template) -> go.Figure:
    """Return the Matryoshka curve with its knee and the mean chance of both directions."""
    knee = (result.get("curve") or {}).get("knee")
    chance = sum(result["chance"][way]["R@1"] for way in ("i2t", "t2i")) / 2
    return mrl_figure(curve_frame(result), template, knee=knee and knee["dims"], chance=chance)
