"""Tiles: the newest value of a signal with its unit and its course; one that was not recorded is not drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from dash import html

from edgeglass_dashboards.view import View
from edgeglass_diag.figures.of_evaluation import read_losses, read_recalls
from edgeglass_diag.figures.sparklines import as_mask, spark_svg
from edgeglass_diag.signals import Signal, metric
from edgeglass_diag.signals.embeddings import EMBEDDING_SCALE
from edgeglass_diag.signals.evaluation import EVALUATION_LOSS, EVALUATION_RECALL
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_LR
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

if TYPE_CHECKING:
    import pandas as pd

_BINS = 60
_VALIDATION = ("val/loss", "val_loss", "validation/loss", "validation_loss", "eval/loss", "eval_loss", "val/clip")
_WAITS = ("data_wait", "data_time", "train/data_time", "time/data")


@dataclass(frozen=True, slots=True)
class Course:
    """A series in few columns; ``reference`` is a level to compare it with, ``of`` what it was measured on."""

    steps: Sequence[int]
    low: Sequence[float]
    high: Sequence[float]
    newest: float
    reference: float | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """What a tile is called, what it shows of a run, its unit, and the page that says more."""

    name: str
    label: str
    unit: str
    page: str
    course: Callable[[Run], Course | None]


def tile_sections(run: Run) -> dict[str, Any]:
    """The tiles by their ids; None for one that has nothing to show."""
    return {f"tile-{tile.name}": _drawn(tile, tile.course(run)) for tile in TILES}


def tile_ids() -> list[str]:
    """The ids of all tiles, in their order."""
    return [f"tile-{tile.name}" for tile in TILES]


def _of(
    names: Iterable[Signal], site: str | None = "", reference: Signal | None = None
) -> Callable[[Run], Course | None]:
    """The course of the first signal that was recorded, at a site, or at its first where that is None."""

    def course(run: Run) -> Course | None:
        recorded = set(run.signals)
        for signal in names:
            if signal in recorded and (found := _course(run, signal, site)) is not None:
                level = _course(run, reference, "") if reference in recorded and reference else None
                return found if level is None else replace(found, reference=level.newest)
        return None

    return course


_BACK = (1, 64, 10**9)
"""Windows in which the newest reading of a site is looked for, one after the other."""


def _course(run: Run, signal: Signal, site: str | None) -> Course | None:
    if site is None:
        newest = run.matrix(signal, bins=1, after=max(0, run.windows - 8))
        sites = newest.sites or run.matrix(signal, bins=1).sites
        if not sites:
            return None
        site = sites[0]
    matrix = run.matrix(signal, bins=_BINS, sites=[site])
    places = matrix.count[0].nonzero()[0].tolist() if matrix.edges else []
    if not places:
        return None
    # The newest window may be one of another site: of a prefix that is drawn anew in each step, or another optimizer.
    looks = (run.matrix(signal, bins=10**9, sites=[site], after=max(0, matrix.last_row - back)) for back in _BACK)
    last = next((look for look in looks if look.edges and look.count[0].any()), None)
    if last is None:
        return None
    column = last.count[0].nonzero()[0][-1]
    newest_value = math.nan if last.nans[0, column] else float(last.high[0, column])
    steps = [int(matrix.edges[place]) for place in places]
    return Course(steps, matrix.low[0, places].tolist(), matrix.high[0, places].tolist(), newest_value)


def _validation(run: Run) -> Course | None:
    """The validation loss that the program logs, else that of the recorded evaluation passes."""
    logged = _of([metric(name) for name in _VALIDATION])(run)
    if logged is not None or EVALUATION_LOSS not in run.signals:
        return logged
    losses = read_losses(run)
    return _drawn_of(losses[losses["phase"] == "validation"])


def _recall(run: Run) -> Course | None:
    """The recall that the program logs, else that within the batches of the recorded evaluation passes."""
    found = _of((metric("i2t/R@1"), metric("R@1"), metric("val/R@1")))(run)
    if found is None:
        return _recall_in_batch(run)
    queries = _of((metric("n"),))(run)
    return found if queries is None or not queries.newest >= 1 else replace(found, reference=1 / queries.newest)


def _recall_in_batch(run: Run) -> Course | None:
    if EVALUATION_RECALL not in run.signals:
        return None
    recalls = read_recalls(run)
    recalls = recalls[recalls["side"] == "image"]
    widest = recalls[recalls["width"] == recalls["width"].max()]
    course = _drawn_of(widest.drop_duplicates("step"))
    return None if course is None else replace(course, reference=float(widest["chance"].iloc[-1]), of="in batch")


def _drawn_of(rows: pd.DataFrame) -> Course | None:
    """The course of values by step, sorted by step; of more than a tile has columns the newest of each column."""
    if rows.empty:
        return None
    groups = [part for part in np.array_split(np.arange(len(rows)), _BINS) if len(part)]
    steps, values = rows["step"].to_numpy(), rows["value"].to_numpy(float)
    low, high = ([float(end(values[part])) for part in groups] for end in (np.min, np.max))
    return Course([int(steps[part[0]]) for part in groups], low, high, float(values[-1]))


def _throughput(run: Run) -> Course | None:
    """Optimizer steps per second between recorded windows, over the newest of them."""
    times = run.window_times(most=600)
    rates = [(step, (step - before) / (now - then)) for (before, then), (step, now) in pairwise(times) if now > then]
    if len(rates) < 2:
        return None
    width = -(-len(rates) // _BINS)
    groups = [rates[at : at + width] for at in range(0, len(rates), width)]
    mean = [sum(rate for _, rate in group) / len(group) for group in groups]
    recent = [rate for _, rate in rates[-8:]]
    return Course([group[0][0] for group in groups], mean, mean, sorted(recent)[len(recent) // 2])


loss_course = _of((LOSS_TOTAL,), reference=LOSS_CHANCE)
"""The loss, with chance."""

TILES = (
    Tile("loss", "Loss", "nats", "overview", loss_course),
    Tile("val", "Validation loss", "nats", "retrieval", _validation),
    Tile("recall", "R@1 image to text", "", "retrieval", _recall),
    Tile("scale", "Logit scale", "x cosine", "embeddings", _of((EMBEDDING_SCALE,), None)),
    Tile("rate", "Learning rate", "", "gradients", _of((OPTIMIZER_LR,), None)),
    Tile("gradient", "Gradient norm", "", "gradients", _of((GRADIENT_NORM,))),
    Tile("throughput", "Throughput", "steps/s", "coverage", _throughput),
    Tile("wait", "Data wait", "s/step", "coverage", _of([metric(name) for name in _WAITS])),
)


def _drawn(tile: Tile, course: Course | None) -> Any:
    if course is None:
        return None
    value = "not finite" if not math.isfinite(course.newest) else say(float(f"{course.newest:.3g}"))
    unit = (course.of or tile.unit) if math.isfinite(course.newest) else ""
    return html.A(
        [
            html.Span(tile.label, className="tile-label"),
            html.Span([html.Strong(value), html.Span(f" {unit}", className="tile-unit")], className="tile-value"),
            *sparkline(course),
        ],
        href=View(page=tile.page).link(),
        className="tile",
        title=_said(course),
    )


def sparkline(course: Course) -> list[Any]:
    """The course as a line, and in a sentence for who does not see it."""
    mask = as_mask(spark_svg(course.low, course.high, course.reference))
    line = html.Span(className="spark", style={"--line": mask}, **{"aria-hidden": "true"})
    return [line, html.Span(_said(course), className="unseen")]


def _said(course: Course) -> str:
    """The course in a sentence."""
    known = [value for value in (*course.low, *course.high) if math.isfinite(value)]
    if not known:
        return "No finite value yet."
    level = "" if course.reference is None else f"; the dashed line is chance, {say(course.reference)}"
    first, last = course.steps[0], course.steps[-1]
    span = f"between {say(min(known))} and {say(max(known))}"
    return f"Steps {first} to {last}: from {say(course.high[0])}, {span}{level}."
