"""First and last values of what the report of a failure is usually argued with: attention, gradients, embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from edgeglass_diag.report.render import small

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

Row = tuple[str, str, str, str]


def vitals(run: Run) -> list[Row]:
    """What was measured, at which sites, in the first and the last recorded window; only what the run has."""
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
    for _, reading in run.readings("embedding/sample_signal"):
        series.setdefault(reading.site, {})[reading.step] = reading.values[0]
    widest: dict[str, str] = {}
    for site in series:
        stem = site.split("[:")[0]
        widest[stem] = max(widest.get(stem, site), site, key=_width)
    return [
        (
            "share of an embedding's energy that depends on the sample",
            site,
            small(series[site][min(series[site])]),
            small(series[site][max(series[site])]),
        )
        for site in widest.values()
    ]


def _width(site: str) -> int:
    digits = site.rpartition("[:")[2].rstrip("]")
    return int(digits) if digits.isdecimal() else 0


def _fold(values: list[float], fold: Callable[[list[float]], float] | None) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < len(values):
        return f"{len(values) - len(finite)} of {len(values)} not finite"
    return small(finite[0] if fold is None else fold(finite))


_SIGNALS: tuple[tuple[str, str, Callable[[list[float]], float] | None], ...] = (
    ("loss/total", "loss", None),
    ("loss/chance", "loss of knowing nothing", None),
    ("attention/entropy", "attention entropy, median over heads (1: uniform)", median),
    ("attention/logit_std", "spread of the attention logits, median over heads", median),
    ("gradient/norm", "gradient norm", None),
    ("update/ratio", "relative size of an update, median over parameters", median),
)
