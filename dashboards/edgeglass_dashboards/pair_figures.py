"""Kept pairs as figures: on a plane at one step, and all steps on one plane."""

from __future__ import annotations

from typing import Any

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.pair_pictures import base, picture_address
from edgeglass_dashboards.pair_view import COLORS, KeptPairs, caption_of, shown_pair
from edgeglass_dashboards.snapshots import key_of, sample_at, samples_at

ALL_STEPS = "all steps"
"""What is waited for while the plane of all steps is being computed."""
_LABEL = 160


def projected_pairs(context: Context, made: Any, kept: KeptPairs | None, template: Any) -> Any:
    """Both sides on a plane, with captions, pictures and colours as far as there are; the chosen pair is ringed.

    Args:
        context: whose view chooses colour and pair.
        made: the projection.
        kept: what is known of the pairs, None for nothing.
        template: of plotly.
    """
    from edgeglass_diag.figures.embedding_marks import gap_trace, pair_trace
    from edgeglass_diag.figures.embeddings import projection_figure

    shown = {} if kept is None else _shown(context, kept)
    figure = projection_figure(made.points, template, axes=made.axes, empty=made.empty, **shown)
    if not made.points.empty:
        if made.method == "pca":
            figure.add_trace(gap_trace(made.points, template))
        pair = shown_pair(context, kept)
        if pair is not None:
            figure.add_trace(pair_trace(made.points, pair, template))
    if kept is not None:
        figure.layout.meta = {"pairs": {"step": kept.step, "pictures": kept.pictures}}
    figure.layout.height = 520
    return figure


def plane_words(made: Any | None) -> str:
    """How a projection was made, and what is to be known of its pairs; empty while there is none."""
    if made is None or made.points.empty:
        return ""
    said = [made.settings, *made.notes]
    return " ".join(f"{each[0].upper()}{each[1:].rstrip('.')}." for each in said if each)


def all_steps(context: Context, template: Any) -> Any | None:
    """The training as an animation of both sides on one plane, in a tuple; None while it is being made.

    It is made once, as it takes longer than all else on its page.
    """
    folder, steps = context.run.folder, context.run.embedding_steps()
    if not steps:
        return None
    path, created, before = context.path, float(context.run.header.get("created", 0.0)), base()

    def make() -> Any:
        from edgeglass_diag.evaluation.neighbours import common_plane
        from edgeglass_diag.figures.embedding_steps import steps_figure
        from edgeglass_diag.store import load

        with load(folder) as opened:
            samples = {step: sample for step in steps if (sample := sample_at(opened, step)) is not None}
            told = {step: samples_at(opened, step) for step in samples}
        labels = {step: [caption_of(kept.captions, pair)[:_LABEL] for pair in range(len(kept.captions))]
                  for step, kept in told.items()}  # fmt: skip

        def meta(step: int) -> dict[str, Any]:
            pictures = before + picture_address(path, step, created) if len(told[step].pictures) else ""
            return {"pairs": {"step": step, "pictures": pictures}}

        return (steps_figure(common_plane(samples), template, labels=labels, meta=meta),)

    name = f"{len(steps)} steps, {context.scheme}, {before}"
    made = context.index.jobs.get(key_of(context, steps[-1], name), make)
    if made is None:
        context.waits.add(ALL_STEPS)
    return made


def _shown(context: Context, kept: KeptPairs) -> dict[str, Any]:
    import pandas as pd

    name = context.view.color if context.view.color in COLORS else ""
    ranks = [int(rank) + 1 for rank in kept.found.rank["image"]]
    texts = [
        f"{kept.label(pair)[:_LABEL]} (cosine {cosine:.3f}, rank {rank})"
        for pair, cosine, rank in zip(kept.found.pairs.tolist(), kept.found.similarity, ranks, strict=True)
    ]
    colors = (COLORS[name], {side: kept.color(name, side) for side in ("image", "text")}) if name else None
    return {"labels": pd.Series(texts, index=kept.found.pairs), "colors": colors}
