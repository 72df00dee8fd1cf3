"""Pages that show signals as site x step: which signals, and the one site that was picked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.compact_html import plain
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.page_summary import answer
from edgeglass_dashboards.panels import HeadsPanel, HeatPanel, Panel, slot
from edgeglass_diag.figures.heatmaps import shown_values
from edgeglass_diag.figures.of_run import read_matrix, read_newest
from edgeglass_diag.figures.scales import Scale, scale_of
from edgeglass_diag.signals import Signal, recorded
from edgeglass_diag.verdict import say


@dataclass(frozen=True)
class HeatPage:
    """A page of heatmaps: one signal at a time, its sites by step, and the history of the site that is picked."""

    name: str
    title: str
    question: str
    choices: tuple[Signal, ...]
    fills: str
    history: str = "History of"
    below: tuple[Panel, ...] = ()
    signals: tuple[Signal, ...] = ()

    def signal_of(self, context: Context) -> Signal:
        """The signal that the view asks for, or the first."""
        asked = recorded(context.view.signal)
        return asked if asked in self.choices and asked is not None else self.choices[0]

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, the choice of signals, the words of the scale, the table where it is asked for."""
        signal = self.signal_of(context)
        scale = scale_of(signal, context.run.rules)
        matrix = read_newest(context.run, signal, component=scale.component)
        whole = read_matrix(context.run, signal, component=scale.component) if context.view.table else None
        table = None if whole is None else heat_table(whole, scale, context)
        return {
            "answer": self._answer(context, signal, matrix),
            "choices": self._choices(context, signal),
            "scale-words": scale_words(scale),
            "heat-table": table,
            "table-link": html.A(
                "Hide the table" if context.view.table else "Show as a table",
                href=context.view.link(table=not context.view.table),
                className="table-link",
            ) if matrix is not None else None,
            "picked": picked_words(context, signal, self.history),
        }  # fmt: skip

    def panels(self, context: Context) -> Sequence[Panel]:
        """The heatmap, and the history of the site that is picked."""
        signal = self.signal_of(context)
        panels: list[Panel] = [*self.below, HeatPanel("heat", signal, self.fills)]
        if context.view.site is not None:
            panels.append(history_panel(signal, context.view.site))
        return panels

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Answer, figures of the whole run, heatmap, history."""
        title = html.Div(content["choices"], id="choices")
        parts: list[Any] = [html.Section(content["answer"], id="answer", **{"aria-label": "Answer"})]
        heat = HeatPanel("heat", self.choices[0], self.fills)
        parts.append(
            dmc.Paper(
                [
                    title,
                    html.Div(content["scale-words"], id="scale-words", className="caption"),
                    html.Div(slot(heat, content), id="heat-panel"),
                    html.Div(content["table-link"], id="table-link"),
                    html.Div(content["heat-table"], id="heat-table"),
                ],
                withBorder=True, p="md", radius="md", className="figure-card",
            )
        )  # fmt: skip
        parts.append(history_card(content))
        parts += [figure_card(panel, content, heading=panel_title(panel)) for panel in self.below]
        return html.Div(parts, className="stack")

    def _answer(self, context: Context, signal: Signal, matrix: Any | None) -> Any:
        """The finding, or what is within its bounds and what is not, of all the signals that the page has."""
        run = context.run
        healthy, words = summary_words(matrix, scale_of(signal, run.rules))
        for other in self.choices:
            scale = scale_of(other, run.rules)
            if other != signal and scale.is_bounded:
                fine, more = summary_words(read_newest(run, other, component=scale.component), scale)
                words, healthy = words if fine else f"{words} {more}", healthy and fine
        return answer(run, (self.name,), words, recorded=matrix is not None, healthy=healthy)

    def _choices(self, context: Context, signal: Signal) -> Any:
        links = []
        for choice in self.choices:
            here = {"aria-current": "true"} if choice == signal else {}
            label = scale_of(choice, context.run.rules).label
            links.append(html.Li(html.A(label, href=context.view.link(signal=choice, page=self.name), **here)))
        return html.Nav(html.Ul(links), className="choices", **{"aria-label": "Signal"})


def panel_title(panel: Panel) -> str:
    """A heading for a figure of the whole run."""
    return {"clipping": "Gradient norm of the whole model, before and after clipping"}.get(panel.name, panel.name)


def figure_card(panel: Panel, content: dict[str, Any], *, heading: str) -> Any:
    """A card with a heading and one figure."""
    return dmc.Paper(
        [dmc.Title(heading, order=2, size="h4"), html.Div(slot(panel, content), id=f"{panel.name}-panel")],
        withBorder=True, p="md", radius="md", className="figure-card",
    )  # fmt: skip


def history_panel(signal: Signal, site: str) -> HeadsPanel:
    """The history of the picked site."""
    return HeadsPanel("heads", signal, site, "This signal was not recorded at this place.")


def history_card(content: dict[str, Any]) -> Any:
    """The card of the picked site; it says how to pick one before one is picked."""
    children = content.get("heads-panel")
    return dmc.Paper(
        [html.Div(content["picked"], id="picked"), html.Div(children, id="heads-panel")],
        withBorder=True, p="md", radius="md", className="figure-card", id="history",
    )  # fmt: skip


def picked_words(context: Context, signal: Signal, history: str) -> Any:
    """The heading of the picked site's card."""
    site = context.view.site
    if site is None:
        return html.P(
            "Pick a cell or a row of the table: its history over the training appears here.", className="caption"
        )
    scale = scale_of(signal, context.run.rules)
    close = html.A("Close", href=context.view.link(site=None, step=None), className="table-link")
    return html.Div(
        [
            dmc.Title([f"{history} ", html.Code(site or "(model)")], order=2, size="h4", id="history-title"),
            html.P([f"{scale.label}, {scale.unit}. ", close], className="caption"),
        ]
    )


def scale_words(scale: Scale) -> Any:
    """What the colours mean, the unit, and where it is healthy."""
    return [
        html.P([html.Strong(f"{scale.label}: "), f"{scale.unit}. ", f"{scale.meaning[0].upper()}{scale.meaning[1:]}."]),
        html.P(f"Bounds: {scale.bounds}."),
    ]


def summary_words(matrix: Any | None, scale: Scale) -> tuple[bool, str]:
    """Whether all sites are within the bounds at the newest step, and how many are not, in a sentence."""
    if matrix is None:
        return True, "Nothing has been recorded here yet."
    newest = [(site, newest_value(matrix, row, scale)) for row, site in enumerate(matrix.sites)]
    known = [(site, value) for site, value in newest if value is not None]
    outside = [site for site, value in known if not scale.is_healthy(value)]
    start = f"{scale.label} at step {matrix.last_step}: "
    if not scale.is_bounded and not outside:
        values = sorted(value for _, value in known)
        ends = dict.fromkeys(say(value) for value in (values[0], values[-1]))
        return True, f"{start}{' to '.join(ends)} at {_places(len(known))}."
    if not outside:
        return True, f"{start}within its bounds at {'all ' if len(known) > 1 else ''}{_places(len(known))}."
    more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
    return (
        False,
        f"{start}outside its bounds at {len(outside)} of {_places(len(known))}: {outside[0] or '(model)'}{more}.",
    )


def _places(count: int) -> str:
    return f"{count} place{'s' if count != 1 else ''}"


def newest_value(matrix: Any, row: int, scale: Scale) -> float | None:
    """The last recorded value of a site; None where it has none."""
    recorded = matrix.count[row].nonzero()[0]
    return float(shown_values(matrix, scale)[row, recorded[-1]]) if len(recorded) else None


def heat_table(matrix: Any, scale: Scale, context: Context) -> Any:
    """The heatmap in numbers: first, lowest, highest and newest value of each site, and whether it is healthy."""
    import numpy as np

    rows = []
    for row, site in enumerate(matrix.sites):
        low, high = matrix.low[row], matrix.high[row]
        seen = np.isfinite(low)
        newest = newest_value(matrix, row, scale)
        numbers = [low[seen][0], low[seen].min(), high[np.isfinite(high)].max()] if seen.any() else [math.nan] * 3
        healthy = newest is not None and scale.is_healthy(newest)
        link = html.A(site or "(model)", href=context.view.link(site=site))
        cells = [html.Td(say(float(number))) for number in [*numbers, math.nan if newest is None else newest]]
        state = "" if not scale.is_bounded else "within" if healthy else "outside"
        rows.append(html.Tr([html.Th(link, scope="row"), *cells, html.Td(state)]))
    heads = ("site", "first", "lowest", "highest", f"at step {matrix.last_step}", "bounds")
    table = html.Table(
        [
            html.Caption(f"{scale.label}, {scale.unit}"),
            html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
            html.Tbody(rows),
        ],
        className="numbers",
    )
    return html.Div(
        plain(table), className="scrolled", tabIndex="0", role="region", **{"aria-label": f"{scale.label} as a table"},
    )  # fmt: skip
