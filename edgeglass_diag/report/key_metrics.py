"""First and last values of what the report of a failure is usually argued with: attention, gradients, embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from edgeglass_diag.figures.of_run import widest_sides
from edgeglass_diag.report.render import small
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY, ATTENTION_LOGIT_STD
from edgeglass_diag.signals.embeddings import EMBEDDING_SAMPLE_SIGNAL
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, UPDATE_RATIO

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

Row = tuple[str, str, str, str]


def key_metrics(run: Run) -> list[Row]:
    """Return what was measured, at which sites, in the first and the last recorded window; only what the run has."""
    rows: list[Row] = []
    for signal, label, fold in _SIGNALS:
        if signal not in run.signals:
            continue
        windows: dict[int, list[float]] = {}
        sites = set()
        for _, reading in run.readings(signal, site="" if fold is None else None):
            windows.setdefault(reading.step, []).extend(reading.values)
            sites.add(reading.site)
        if windows:
            first, last = (_fold(windows[step], fold) for step in (min(windows), max(windows)))
            where = "whole model" if fold is None else f"{len(sites)} site{'' if len(sites) == 1 else 's'}"
            rows.append((label, where, first, last))
    return rows + _sides(run)


def _sides(run: Run) -> list[Row]:
    """Sample signal of each embedding side at its full width."""
    series: dict[str, dict[int, float]] = {}
    for _, reading in run.readings(EMBEDDING_SAMPLE_SIGNAL):
        series.setdefault(reading.site, {})[reading.step] = reading.values[0]
    return [
        (
            "share of an embedding's energy that depends on the sample",
            side.path,
            small(series[side.path][min(series[side.path])]),
            small(series[side.path][max(series[side.path])]),
        )
        for side in widest_sides(site for site in run.sites if site.path in series)
    ]


def _fold(values: list[float], fold: Callable[[list[float]], float] | None) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < len(values):
        return f"{len(values) - len(finite)} of {len(values)} not finite"
    return small(finite[0] if fold is None else fold(finite))


_SIGNALS: tuple[tuple[Signal, str, Callable[[list[float]], float] | None], ...] = (
    (LOSS_TOTAL, "loss", None),
    (LOSS_CHANCE, "loss of knowing nothing", None),
    (ATTENTION_ENTROPY, "attention entropy, median over heads (1: uniform)", median),
    (ATTENTION_LOGIT_STD, "spread of the attention logits, median over heads", median),
    (GRADIENT_NORM, "gradient norm", None),
    (UPDATE_RATIO, "relative size of an update, median over parameters", median),
)
