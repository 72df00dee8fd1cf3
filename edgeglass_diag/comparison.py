"""Compare runs: summaries, differing settings, and the first step at which their losses part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP
from edgeglass_diag.plain_values import plain
from edgeglass_diag.run_summary import run_summary
from edgeglass_diag.settings import differing
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run


def compare_runs(runs: Sequence[Run], names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return summaries, differing settings and first divergence of two or more runs.

    ``names`` are those of the runs where they are not told by their own.

    The first divergence is the first step recorded by all runs at which the losses, each divided by its own chance
    level, lie more than 0.05 apart; None if they never do.
    """
    return {
        "runs": [run_summary(run) for run in runs],
        "differing_settings": differing(
            [run.header.get("settings", {}) for run in runs], ignore=("name", "description")
        ),
        "first_divergence": first_divergence(runs, names),
    }


def _relative_losses(run: Run) -> dict[int, float]:
    chance = {reading.step: reading.values[0] for _, reading in run.readings(LOSS_CHANCE, site="")}
    total = {reading.step: reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")}
    return {step: total[step] / chance[step] for step in total if chance.get(step, 0.0) > 0}


def first_divergence(runs: Sequence[Run], names: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Return the first step recorded by all runs at which the losses over chance lie apart, and the losses there."""
    losses = [_relative_losses(run) for run in runs]
    for step in sorted(set.intersection(*(set(series) for series in losses))):
        values = [series[step] for series in losses]
        # A NaN is far from everything: the negated comparison counts it as apart.
        if not max(values) - min(values) <= MIN_LOSS_GAP:
            called = names or [run.name for run in runs]
            return {"step": step, "loss_over_chance": plain(dict(zip(called, values, strict=True)))}
    return None
