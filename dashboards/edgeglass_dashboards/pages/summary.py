"""The parts of the overview that are words and numbers: status and progress, recall, the final result."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.cursor import Recent
from edgeglass_dashboards.findings_view import icon
from edgeglass_diag.figures.of_run import RECALLS
from edgeglass_diag.records import RunStatus
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import nest, none_found, say

_LOSSES = {"train_loss": "training loss", "val_loss": "validation loss"}


def progress(run: Run) -> Any:
    """The status in words, and how far the run is when it told its number of steps."""
    status, step = run.status, run.last_step
    total = _total_steps(run)
    taken = f" ({step + 1} of {total})" if total and step < total else f" of {total}" if total else ""
    words = "nothing recorded yet" if step < 0 else f"step {step}{taken}"
    if status == RunStatus.FAILED and run.header["status"] == RunStatus.RUNNING:
        words += "; the process ended without a word"
    words += "".join(f"; resumed at step {cut.step}" for cut in run.cuts[-1:])
    children = [html.Span([icon(status), status], className=f"badge status-{status}"), html.Span(words)]
    if not total:
        return html.Div(children, className="progress")
    share = 100 if status == RunStatus.FINISHED else min(100, round(100 * (step + 1) / total))
    bar = dmc.Progress(value=share, className="progress-bar", **{"aria-label": f"Progress: {share} percent"})
    return html.Div([*children, bar], className="progress")


def announcement(run: Run) -> str:
    """Return what a screen reader announces when it changes: not each loss, but the status and the headline finding."""
    branches, status = nest(run.findings), run.status
    if not branches:
        none = none_found(run.record.recorded, run.record.taken, so_far=status == RunStatus.RUNNING)
        return f"Run {status}. {none}."
    finding = branches[0].finding
    return f"Run {status}. {finding.severity} finding {finding.code}: {finding.message}"


def recall_words(recent: Recent) -> str:
    """The latest recall both ways against chance, in a sentence; empty before the first evaluation.

    Args:
        recent: the last readings of recall@1 both ways (fractions) and of the number of queries.
    """
    if not all(recent.get(signal) for signal in RECALLS):
        return ""
    (step, image), (_, text), (_, n) = (recent[signal][-1] for signal in RECALLS)
    if not n >= 1:
        return ""
    return f"At step {step}: image to text {image:.3g}, text to image {text:.3g}; chance {1 / n:.2g} (1 of {n:g})."


def result_table(result: dict[str, Any]) -> Any:
    """What the run reported at its end; nothing before."""
    if not result:
        return None
    losses = [f"{words} {say(result[key])}" for key, words in _LOSSES.items() if result.get(key) is not None]
    ways = [(title, result.get(key) or {}) for key, title in
            (("i2t", "image to text"), ("t2i", "text to image"), ("chance", "chance"))]  # fmt: skip
    measures = list(dict.fromkeys(name for _, values in ways[:2] for name in values))
    if not losses and not measures:
        return None
    children: list[Any] = [dmc.Title("At the end, as the program reported it", order=2, size="h6")]
    if losses:
        children.append(html.P("; ".join(losses), className="caption"))
    if measures:
        children.append(_recall_table(measures, ways, result.get("n")))
    return html.Div(children, className="result")


def _recall_table(measures: list[str], ways: list[tuple[str, dict[str, Any]]], n: object) -> Any:
    head = html.Tr([html.Th("recall", scope="col"), *(html.Th(title, scope="col") for title, _ in ways)])
    rows = [
        html.Tr([html.Th(name, scope="row"), *(html.Td(say(values.get(name, "-"))) for _, values in ways)])
        for name in measures
    ]
    caption = [html.Caption(f"fractions of {n} queries")] if n else []
    return html.Table([*caption, html.Thead(head), html.Tbody(rows)], className="numbers")


def _total_steps(run: Run) -> int:
    settings = run.header.get("settings")
    total = settings.get("total_steps") if isinstance(settings, dict) else None
    return int(total) if isinstance(total, (int, float)) and total > 0 else 0
