"""The figures and the words of evaluation passes that were recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.panels import StillPanel
from edgeglass_diag.figures import evaluated
from edgeglass_diag.figures.of_evaluation import (
    evaluations,
    of_most_widths,
    read_losses,
    read_recalls,
    read_width_losses,
)
from edgeglass_diag.records import RunStatus
from edgeglass_diag.signals.evaluation import EVALUATION_LOSS, EVALUATION_PASSES, EVALUATION_RECALL
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

if TYPE_CHECKING:
    import pandas as pd

CARDS = {
    "evaluation-recall": ("Recall of validation", "Shaded: the 95 % interval of what was counted."),
    "evaluation-loss": ("Training and validation loss", "Mean of the losses that both have, each of the same weight."),
    "width-recall": ("Recall by width over steps", "Each prefix width of the embeddings alone."),
    "width-loss": ("Loss by width over steps", "Dotted: training. With points: validation."),
}
"""Name of a figure: its title, and how it is read."""

_EMPTY = "Nothing of this was recorded."
_WINDOWS = 25
"""Windows after which a figure without evaluations is drawn anew."""

_HOW = (
    "Inside of the watch, call the model that trains under torch.no_grad() now and then, with pairs that it does not "
    "train on, and compute the loss as in training. The pass is found by itself."
)


def evaluation_panels(context: Context) -> tuple[StillPanel, ...]:
    """The figures by step, drawn anew with each evaluation."""
    run = context.run
    key = [evaluations(run), run.windows // _WINDOWS, run.status != RunStatus.RUNNING, context.scheme]
    make: dict[str, Callable[[Run, Any], Any]] = {
        "evaluation-recall": _recall,
        "evaluation-loss": _loss,
        "width-recall": _width_recall,
        "width-loss": _width_loss,
    }
    return tuple(StillPanel(name, key, partial(draw, run), _EMPTY) for name, draw in make.items())


def evaluation_words(run: Run) -> str:
    """The newest evaluation in sentences; empty before the first one."""
    if not evaluations(run):
        return ""
    return " ".join(part for part in (_recall_words(read_recalls(run)), _loss_words(read_losses(run))) if part)


def missing(run: Run, *, told: bool) -> Any:
    """What of the evaluation is missing in a run and what to do about it; None where nothing is.

    Args:
        run: that is shown.
        told: whether the program has logged recalls of its own.
    """
    signals = set(run.signals)
    if EVALUATION_PASSES not in signals:
        what = (
            "No evaluation pass was recorded: validation loss, recall with its interval and both by width are missing."
        )
        own = "" if told else ' Or log your own: watch.log({"i2t/R@1": ..., "t2i/R@1": ..., "n": pairs}, step).'
        return _note(what, _HOW + own)
    if EVALUATION_LOSS not in signals:
        return _note(
            "Evaluation passes were recorded, and no loss in them.",
            "Compute the loss function of the training in them, too: it is compared with the training's.",
        )
    if EVALUATION_RECALL not in signals:
        return _note(
            "The evaluation has no recall: no loss in it takes products of two sides whose rows are partners.",
            "A training of pairs gets one by calling its loss on both sides of a validation batch.",
        )
    return None


def _note(what: str, do: str) -> Any:
    return dmc.Paper(
        [html.P(html.Strong(what)), html.P([html.Strong("What to do: "), do])],
        withBorder=True, p="md", radius="md", className="missing",
    )  # fmt: skip


def _recall_words(recalls: pd.DataFrame) -> str:
    if recalls.empty:
        return ""
    newest = recalls[recalls["step"] == recalls["step"].iloc[-1]]
    newest = newest[newest["width"] == newest["width"].max()]
    names = {"image": "image to text", "text": "text to image"}
    ways = [
        f"{names.get(side, module)} {value:.3g} (95 %: {low:.3g} to {high:.3g})"
        for side, module, value, low, high in newest[["side", "module", "value", "low", "high"]].itertuples(index=False)
    ]
    last = newest.iloc[-1]
    rows = f"{last['rows']:g} rows in batches of {1 / last['chance']:.0f}"
    return f"Validation at step {last['step']}, R@1: {', '.join(ways)}; chance {last['chance']:.2g} ({rows})."


def _loss_words(losses: pd.DataFrame) -> str:
    validation = losses[losses["phase"] == "validation"]
    if validation.empty:
        return ""
    step, value = int(validation["step"].iloc[-1]), float(validation["value"].iloc[-1])
    training = losses[(losses["phase"] == "training") & (losses["step"] <= step)]
    beside = "" if training.empty else f", of training {say(float(training['value'].iloc[-1]))}"
    return f"Loss of validation at step {step}: {say(value)}{beside}."


def _recall(run: Run, template: Any) -> Any:
    recalls = read_recalls(run)
    return None if recalls.empty else evaluated.evaluated_recall_figure(recalls, template)


def _loss(run: Run, template: Any) -> Any:
    losses = read_losses(run) if EVALUATION_LOSS in run.signals else None
    return None if losses is None or losses.empty else evaluated.evaluated_loss_figure(losses, template)


def _width_recall(run: Run, template: Any) -> Any:
    recalls = of_most_widths(read_recalls(run))
    return None if recalls.empty else evaluated.width_recall_figure(recalls, template)


def _width_loss(run: Run, template: Any) -> Any:
    losses = read_width_losses(run)
    return None if losses.empty else evaluated.width_loss_figure(losses, template)
