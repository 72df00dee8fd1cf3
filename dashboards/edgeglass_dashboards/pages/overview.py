"""Overview: is it learning, and if not, what is wrong and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_view import finding_card, findings_table, further_findings, verdict_line
from edgeglass_dashboards.pages.summary import progress, recall_words, result_table
from edgeglass_dashboards.panels import LinePanel, Panel, empty, slot
from edgeglass_diag.figures.lines import loss_figure, loss_points, recall_figure, recall_points
from edgeglass_diag.figures.of_run import LOSSES, RECALLS
from edgeglass_diag.records import RunStatus
from edgeglass_diag.verdict import about_the_record, compare_loss, judge, nest, none_found

LOSS = LinePanel(
    "loss",
    LOSSES,
    loss_figure,
    loss_points,
    "No loss yet. The curve appears with the first training step whose loss is recorded.",
)
RECALL = LinePanel(
    "recall",
    RECALLS,
    recall_figure,
    recall_points,
    "No recall yet. It appears when the run evaluates for the first time.",
)
_MORE = "A rule that fires adds its finding here, with evidence and what to change."


class Overview:
    """The verdict, the headline finding with its fix, loss and recall against chance, all findings."""

    name = "overview"
    title = "Overview"
    question = "Is it learning, and if not, what is wrong and what do I change?"
    signals = LOSS.signals + RECALL.signals

    def sections(self, context: Context) -> dict[str, Any]:
        """The parts of the page that are text, by id."""
        run, recent = context.run, context.recent
        findings = run.findings
        model, record = about_the_record(findings)
        branches = nest(model)
        losses, chances = ([value for _, value in recent[signal]] for signal in LOSS.signals)
        chance = chances[-1] if chances else None
        recorded, taken, running = run.record.recorded, run.record.taken, run.status == RunStatus.RUNNING
        without = none_found(recorded, taken, so_far=running) + (f". {_MORE}" if running else ".")
        verdict = judge(findings, losses, chance, run.status, recorded=recorded, taken=taken)
        words = compare_loss(losses, chance)[1]
        return {
            "verdict": verdict_line(verdict),
            "progress": progress(run),
            "headline": [
                *(finding_card(branch, run.rules, headline=True) for branch in branches[:1]),
                *(finding_card(branch, run.rules, headline=True) for branch in nest(record)),
            ],
            "further": further_findings(branches[1:], run.rules),
            "loss-words": f"{words[0].upper()}{words[1:]}." if losses else "",
            "recall-words": recall_words(recent),
            "result": result_table(run.result),
            "table": findings_table(findings, run.rules) if findings else empty(without),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """Loss and recall."""
        return LOSS, RECALL

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Verdict and progress, headline, curves, result, all findings."""
        curves = [_card("Loss against chance", LOSS, content), _card("Recall@1 against chance", RECALL, content)]
        table = [dmc.Title("All findings", order=2, size="h4"), html.Div(content["table"], id="table")]
        return html.Div(
            [
                html.Div([html.Div(content["verdict"], id="verdict"), html.Div(content["progress"], id="progress")]),
                html.Section(
                    content["headline"], id="headline", className="stack", **{"aria-label": "Headline finding"}
                ),
                dmc.SimpleGrid(curves, cols={"base": 1, "md": 2}),
                html.Section(content["result"], id="result"),
                html.Section(content["further"], id="further"),
                dmc.Paper(table, withBorder=True, p="md", radius="md"),
            ],
            className="stack",
        )


def _card(title: str, panel: LinePanel, content: dict[str, Any]) -> Any:
    words = f"{panel.name}-words"
    return dmc.Paper(
        [
            dmc.Title(title, order=2, size="h4"),
            html.P(content[words], id=words, className="caption"),
            html.Div(slot(panel, content), id=f"{panel.name}-panel"),
        ],
        withBorder=True,
        p="md",
        radius="md",
        className="figure-card",
    )


PAGE = Overview()
