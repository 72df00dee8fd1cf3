"""Attribution: which patches, latents and words carry the similarity of a pair."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.attributions import FOLDER, MOST_PAIRS, Attributed, attribution_of, state_of_attribution
from edgeglass_dashboards.command_line import command_line
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.panels import Panel, StillPanel, slot
from edgeglass_diag.figures.units import units_figure
from edgeglass_diag.render.attribution import (
    INFORMATION_COLUMNS,
    error_words,
    information_cells,
    information_words,
    patch_words,
    strongest_words,
    word_values,
)
from edgeglass_diag.signals import Signal

_LEVELS = 5
_NO_LATENTS = "Every unit of the image side has its place in the picture."


class Attribution:
    """The information test, and each pair with its heatmaps and the words that carry it."""

    name = "attribution"
    title = "Attribution"
    question = "Which patches, latents and words carry a pair's similarity, and do the pictures matter at all?"
    signals: tuple[Signal, ...] = ()

    def unavailable(self, context: Context) -> str:
        """What the tab says where nothing is attributed; empty where something is."""
        known = state_of_attribution(context.run, context.root) != (0, 0)
        return "" if known else f"Not attributed yet: {_command(context)}"

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, the information test, the pairs."""
        found = attribution_of(context.run, context.root)
        parts: dict[str, Any] = {"attributed": _answer(context, found), "information": None, "pairs": None}
        if found.result is not None:
            parts |= {"information": _information(found.result), "pairs": _pairs(found)}
        return parts

    def panels(self, context: Context) -> Sequence[Panel]:
        """The units that have no place in the picture."""

        def make(template: Any) -> Any:
            found = attribution_of(context.run, context.root)
            name, values = _without_place(found)
            return units_figure(values, template, unit=name) if values else None

        return (StillPanel("units", state_of_attribution(context.run, context.root), make, _NO_LATENTS),)

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """The answer, then the test, the pairs and the units without a place."""
        answer = html.Section(content["attributed"], id="attributed", **{"aria-label": "Answer"})
        if content["pairs"] is None:
            hidden = [html.Div(id=part, hidden=True) for part in ("information", "pairs", "units-panel")]
            return html.Div([answer, *hidden], className="stack")
        (units,) = self.panels(context)
        words = "Vermilion speaks for the pair, blue against it; full colour is the largest of the heatmap."
        return html.Div(
            [
                answer,
                _card("Does the score depend on the picture?", html.Div(content["information"], id="information")),
                _card("Pairs", html.P(words, className="caption"), html.Div(content["pairs"], id="pairs")),
                _card("Units without a place in the picture", html.Div(slot(units, content), id="units-panel")),
            ],
            className="stack",
        )


def _command(context: Context) -> str:
    folder = context.run.folder
    return f"edgeglass-diag attribute {shlex.quote(str(folder))} --out {shlex.quote(str(folder / FOLDER))}"


def _answer(context: Context, found: Attributed) -> Any:
    if found.problem:
        return html.Div([icon("warning"), html.Div(f"{found.problem}.")], className="answer tone-warning")
    if found.result is None:
        words = "Nothing is attributed yet. Of a run of a recipe, whose model is kept, this command does it: "
        way = [words, command_line(_command(context), "command")]
        return html.Div([icon("neutral"), html.Div(way)], className="answer tone-neutral")
    test = found.result["information"]
    tone = "info" if test["informed"] else "critical"
    words = information_words(test)
    return html.Div([icon(tone), html.Div(f"{words[0].upper()}{words[1:]}.")], className=f"answer tone-{tone}")


def _information(result: dict[str, Any]) -> Any:
    test = result["information"]
    rows = []
    for first, *cells in information_cells(test):
        named = zip(INFORMATION_COLUMNS[1:], cells, strict=True)
        rows.append(
            html.Tr([html.Th(first, scope="row"), *(html.Td(cell, **{"data-label": name}) for name, cell in named)])
        )
    head = html.Thead(html.Tr([html.Th(column, scope="col") for column in INFORMATION_COLUMNS]))
    scale = "1: every pair scores above every non-pair; 0: the score does not depend on the image."
    words = f"{test['n']} pairs of {result['split']}. {scale}"
    return [html.P(words, className="caption"), html.Table([head, html.Tbody(rows)], className="numbers blocks")]


def _pairs(found: Attributed) -> Any:
    result = found.result or {"pairs": []}
    pairs = zip(result["pairs"], found.pictures, strict=False)
    shown = [_pair(row, entry, picture) for row, (entry, picture) in enumerate(pairs)]
    more = len(result["pairs"]) - MOST_PAIRS
    said = f"{error_words(result)}{f'; {more} more pairs are in the folder' if more > 0 else ''}."
    return [*shown, html.P(f"{said[0].upper()}{said[1:]}", className="caption")]


def _pair(row: int, entry: dict[str, Any], picture: str) -> Any:
    title = html.Div([html.Strong(f"Pair {row}"), f", cosine {entry['similarity']:.3f}"], className="pair-title")
    parts = [title, *_caption(entry)]
    if picture:
        named = [name for name, view in entry["views"].items() if view["grid"] is not None]
        heads = ["picture", *(f"{name}, {kind}" for name in named for kind in ("gradients", "ablation"))]
        said = f"{entry['caption']}. Most: {patch_words(entry)}"
        tiles = [
            html.Div([html.Span(name) for name in heads], className="tile-heads"),
            html.Img(src=picture, alt=said, className="patch-tiles"),
        ]
        strip = html.Div(tiles, style={"minWidth": f"{8.5 * len(heads)}rem", "maxWidth": f"{17 * len(heads)}rem"})
        label = {"aria-label": f"Heatmaps of pair {row}"}
        parts.append(html.Div(strip, className="scrolled", tabIndex="0", role="region", **label))
    return html.Div(parts, className="pair")


def _caption(entry: dict[str, Any]) -> list[Any]:
    """The caption, each word on the colour of what it carries."""
    values = word_values(entry)
    if not values:
        return [html.P(entry["caption"])]
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    parts: list[Any] = []
    for word, value in zip(entry["words"], values, strict=False):
        level = 0 if math.isnan(value) else round(_LEVELS * min(1.0, abs(value) / largest))
        name = f"word {'for' if value > 0 else 'against'}-{level}" if level else "word"
        parts += [html.Span(word, className=name, title=f"{value:+.3f}"), " "]
    return [html.P(parts, className="words"), html.P(f"Words with most: {strongest_words(entry)}", className="caption")]


def _without_place(found: Attributed) -> tuple[str, list[list[float]]]:
    """The name and the integrated gradients by pair of the first view of the image side that has no grid."""
    pairs = [] if found.result is None else found.result["pairs"][:MOST_PAIRS]
    for name, view in (pairs[0]["views"] if pairs else {}).items():
        if view["side"] == "image" and view["grid"] is None:
            rows = [pair["views"][name]["integrated_gradients"] for pair in pairs if name in pair["views"]]
            return name, rows
    return "", []


def _card(title: str, *content: Any) -> Any:
    parts = [dmc.Title(title, order=2, size="h4"), *content]
    return dmc.Paper(parts, withBorder=True, p="md", radius="md", className="figure-card")


PAGE = Attribution()
