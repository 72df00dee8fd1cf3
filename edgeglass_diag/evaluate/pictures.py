"""Everything an evaluation can be seen by, as figures. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from edgeglass_diag.evaluate.frames import curve_frame, density_frame, occurrence_frame, recall_frame, spectrum_frame
from edgeglass_diag.evaluate.pairs import PairSample
from edgeglass_diag.evaluate.projection import METHODS, project
from edgeglass_diag.figures.embeddings import density_figure, hubness_figure, projection_figure, spectrum_figure
from edgeglass_diag.figures.retrieval import mrl_figure, recall_bars

if TYPE_CHECKING:
    import plotly.graph_objects as go


def pictures(
    result: dict[str, Any],
    sample: PairSample,
    template: go.layout.Template,
    *,
    methods: Iterable[str] = METHODS,
    seed: int = 0,
) -> dict[str, go.Figure]:
    """Recalls, Matryoshka curve, projections, cosines, spectrum and hubs, by name.

    Args:
        result: what ``eval --json`` prints.
        sample: pairs of the same embeddings.
        template: of all figures.
        methods: the projections.
        seed: of all draws.
    """
    figures = {
        "recall": recall_bars(recall_frame(result), template),
        "mrl": curve_figure(result, template),
    }
    for method in methods:
        seen = project(sample, method, seed=seed)
        note = "\n".join(filter(None, ("; ".join(seen.notes), seen.settings)))
        figures[method] = projection_figure(seen.points, template, axes=seen.axes, note=note, empty=seen.empty)
    return figures | {
        "similarity": density_figure(density_frame(sample, seed=seed), template),
        "spectrum": spectrum_figure(spectrum_frame(sample), template),
        "hubness": hubness_figure(occurrence_frame(sample), template),
    }


def curve_figure(result: dict[str, Any], template: go.layout.Template) -> go.Figure:
    """The Matryoshka curve with its knee and the mean chance of both directions."""
    knee = (result.get("curve") or {}).get("knee")
    chance = sum(result["chance"][way]["R@1"] for way in ("i2t", "t2i")) / 2
    return mrl_figure(curve_frame(result), template, knee=knee and knee["dims"], chance=chance)
