"""Overview: is it learning, what is wrong, since when, where, and what to change, without scrolling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.checks import checks
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_list import findings_list, signs
from edgeglass_dashboards.findings_view import verdict_details, verdict_line
from edgeglass_dashboards.model_map import map_words, model_map
from edgeglass_dashboards.model_states import states_of
from edgeglass_dashboards.pages.summary import progress, result_table
from edgeglass_dashboards.panels import Panel, slot
from edgeglass_dashboards.tiles import tile_ids, tile_sections
from edgeglass_dashboards.timeline import Timeline, marks_of, marks_words
from edgeglass_diag.figures.model_map import State, lanes_of
from edgeglass_diag.figures.of_run import LOSSES
from edgeglass_diag.headline import Headline, headline
from edgeglass_diag.run_verdict import failure_of_ranks
from edgeglass_diag.verdict import about_the_record, compare_loss, judge, nest

TIMELINE = Timeline()


class Overview:
    """The verdict, the time line of the loss with its findings, the model map, the findings, the newest values."""

    name = "overview"
    title = "Overview"
    question = "Is it learning, and if not, what is wrong and what do I change?"
    signals = LOSSES

    def sections(self, context: Context) -> dict[str, Any]:
        """The parts of the page that are text, by id."""
        run = context.run
        findings = run.findings
        model, record = about_the_record(findings)
        losses, chances = ([value for _, value in context.recent[signal]] for signal in LOSSES)
        chance = chances[-1] if chances else None
        noted = run.record
        failure = failure_of_ranks(run)
        verdict = judge(
            findings, losses, chance, run.status, recorded=noted.recorded, taken=noted.taken, failure=failure
        )
        said = headline(findings, verdict, losses, chance, run.rules)
        words = compare_loss(losses, chance)[1]
        sites = run.sites
        lanes = lanes_of(sites, states_of(run, sites, model))
        branches = nest(model) + nest(record)
        return {
            "verdict": verdict_line(said.tone, said.text, verdict.record),
            "verdict-details": verdict_details(said, run.rules),
            "progress": progress(run),
            "loss-words": f"{words[0].upper()}{words[1:]}. {marks_words(marks_of(findings, run.rules), run.cuts)}"
            if losses
            else "",
            "map": model_map(lanes, _loss_state(said, losses, chance)),
            "map-words": map_words(lanes),
            "counts": signs(findings),
            "findings": findings_list(branches, run.rules) if branches else None,
            "checks": checks(run, said, words, findings),
            "result": result_table(run.result),
            **tile_sections(run),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """The time line."""
        return (TIMELINE,)

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Verdict; time line and model map beside the findings; the newest values."""
        words = html.P(content["loss-words"], id="loss-words", className="unseen")
        figure = html.Div(slot(TIMELINE, content), id="loss-panel", role="group", **{"aria-describedby": "loss-words"})
        curve = _card("Loss against chance, and what was found when", [words, figure])
        modules = [
            html.P(content["map-words"], id="map-words", className="unseen"),
            html.Div(content["map"], id="map", className="map-scroll"),
        ]
        findings = [html.Div(content[part], id=part) for part in ("findings", "result", "checks")]
        right = _card(
            "Findings", findings, html.Div(content["counts"], id="counts", className="counts"), className="found"
        )
        tiles = [html.Div(content[name], id=name, className="tile-slot") for name in tile_ids()]
        return html.Div(
            [
                html.Section(
                    [
                        html.Div(content["verdict"], id="verdict"),
                        html.Div(content["verdict-details"], id="verdict-details"),
                    ],
                    className="answer-card",
                    **{"aria-label": "Verdict"},
                ),
                html.Div([html.Div([curve, _card("Model map", modules)], className="seen"), right], className="glance"),
                html.Section(tiles, className="tiles", **{"aria-label": "Newest values"}),
            ],
            className="stack",
        )


def _card(title: str, children: list[Any], more: Any = None, className: str = "") -> Any:  # noqa: N803  Dash's name
    head = html.Div([dmc.Title(title, order=2, size="h6"), more], className="card-head")
    return dmc.Paper(
        [head, *children], withBorder=True, px="sm", py=6, radius="md", className=f"figure-card {className}"
    )


def _loss_state(said: Headline, losses: Sequence[float], chance: float | None) -> State:
    learning, words = compare_loss(losses, chance)
    known = words.removeprefix("the ").removeprefix("loss ")
    if learning:
        return State("good", known)
    return State("neutral" if said.tone in ("good", "neutral") else said.tone, known)


PAGE = Overview()
