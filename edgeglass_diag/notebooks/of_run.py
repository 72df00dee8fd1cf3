"""A run as a document: the verdict, how it stands, its findings."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from edgeglass_diag.notebooks.document import Block, Document, Headline, Text
from edgeglass_diag.notebooks.kernel import in_kernel, show, show_figure
from edgeglass_diag.notebooks.of_findings import findings_document
from edgeglass_diag.render.findings import count_text
from edgeglass_diag.run_verdict import run_verdict
from edgeglass_diag.signals.losses import LOSS_TOTAL

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

HEIGHT = 240
"""Pixels of the figure of the loss."""

_GREY = "#777d85"
"""Read on white and on black alike; the ground of a notebook is not known."""


def run_document(run: Run) -> Document:
    """Return the verdict on a run, its status, and its findings nested under their causes."""
    findings = run.findings
    verdict = run_verdict(run, findings)
    steps, count = run.record.taken, count_text(len(findings), run.record)
    blocks: list[Block] = [
        Headline(verdict.tone.upper(), verdict.tone, verdict.text),
        Text(f"{run.name}: {run.status}, {steps} steps, {count}; {run.folder}", quiet=True),
    ]
    return [*blocks, *findings_document(findings)] if findings else blocks


def show_run(run: Run) -> None:
    """Show a run in the cell that is running, with the figure of its loss where plotly is installed."""
    show(run_document(run))
    if in_kernel() and LOSS_TOTAL in run.signals and _has_plotly():
        show_figure(loss_figure(run))


def loss_figure(run: Run) -> Any:
    """Return the figure of a run's loss, small, in colours that any ground takes."""
    figure = run.figure("loss")
    figure.update_layout(height=HEIGHT, font_color=_GREY, modebar_color=_GREY)
    figure.update_xaxes(gridcolor="rgba(128,128,128,.3)", linecolor=_GREY)
    figure.update_yaxes(gridcolor="rgba(128,128,128,.3)", linecolor=_GREY)
    return figure


def _has_plotly() -> bool:
    return "plotly" in sys.modules or importlib.util.find_spec("plotly") is not None
