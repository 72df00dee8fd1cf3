"""Profile: where the time of a step goes, and the traces to open elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.addresses import trace_address
from edgeglass_dashboards.command_line import command_line
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.panels import Panel, StillPanel, slot
from edgeglass_dashboards.profiles import Profiled, key_of, profiled, traces_below
from edgeglass_dashboards.tables import table
from edgeglass_diag.figures.phases import phases_figure
from edgeglass_diag.signals import Signal

_PHASES = {
    "data wait": "waiting for the next batch",
    "forward": "the model and the loss",
    "backward": "gradients",
    "optimizer": "the update, and zero_grad",
    "recorder": "edgeglass-diag itself",
    "other": "what is in no other: logging, transfers, code of the loop",
}
_READING = "The traces are being read."


class Profile:
    """Phases of the traced steps, the slowest operators, and the traces."""

    name = "profile"
    title = "Profile"
    question = "Where does the time of a step go?"
    signals: tuple[Signal, ...] = ()

    def unavailable(self, context: Context) -> str:
        """What the tab says where nothing was traced; empty where something was."""
        return "" if traces_below(context.run, context.root) else f"Not profiled: {_command(context)}"

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, the tables of phases and operators, the traces."""
        found = profiled(context)
        summary = found.summary
        parts = {"profiled": _answer(context, found), "phases": None, "operators": None, "traces": None}
        if found.files:
            waiting = html.P(_READING, className="caption") if not found.problem else None
            parts |= {"traces": _traces(context, found), "phases": waiting, "operators": waiting}
        if summary is not None:
            parts |= {"phases": _phases(summary), "operators": _operators(summary)}
        return parts

    def panels(self, context: Context) -> Sequence[Panel]:
        """The steps by phase."""
        found = profiled(context)

        def make(template: Any) -> Any:
            return None if found.summary is None else phases_figure(found.summary["per_step"], template)

        key = [list(map(str, key_of(found.files))), found.summary is None, found.problem]
        return (StillPanel("steps-by-phase", key, make, found.problem or _READING),)

    def pending(self, context: Context) -> bool:
        """Whether the traces are still being read."""
        found = profiled(context)
        return bool(found.files) and found.summary is None and not found.problem

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """The answer; below it steps, phases, operators and traces where there are any."""
        answer = html.Section(content["profiled"], id="profiled", **{"aria-label": "Answer"})
        if content["traces"] is None:
            places = ("phases", "operators", "traces", "steps-by-phase-panel")
            hidden = [html.Div(id=part, hidden=True) for part in places]
            return html.Div([answer, *hidden], className="stack")
        (steps,) = self.panels(context)
        tables = [
            _card("A step, on average", html.Div(content["phases"], id="phases")),
            _card("Operators with the most time of their own", html.Div(content["operators"], id="operators")),
        ]
        return html.Div(
            [
                answer,
                _card("Traced steps", html.Div(slot(steps, content), id="steps-by-phase-panel")),
                dmc.SimpleGrid(tables, cols={"base": 1, "md": 2}),
                _card("Traces", html.Div(content["traces"], id="traces")),
            ],
            className="stack",
        )


def _command(context: Context) -> str:
    program = context.run.header.get("program")
    if not isinstance(program, dict):
        return f"edgeglass-diag profile {shlex.quote(context.run.name)}"
    module = ["-m"] if program.get("kind") == "module" else []
    arguments = [str(word) for word in program.get("arguments", [])]
    words = [*module, str(program.get("target", "")), *(["--", *arguments] if arguments else [])]
    return f"edgeglass-diag profile {shlex.join(words)}"


def _answer(context: Context, found: Profiled) -> Any:
    if not found.files:
        words = "This run was not profiled. A profile is a run of its own, which has this page: "
        way = [words, command_line(_command(context), "command")]
        return html.Div([icon("neutral"), html.Div(way)], className="answer tone-neutral")
    if found.problem:
        return html.Div([icon("warning"), html.Div(f"{found.problem}.")], className="answer tone-warning")
    if found.summary is None:
        words = "The traces are being read; what they say appears here by itself."
        return html.Div([icon("neutral"), html.Div(words)], className="answer tone-neutral")
    return html.Div([icon("info"), html.Div(_said(found.summary))], className="answer tone-info")


def _said(summary: dict[str, Any]) -> str:
    phases = sorted(summary["phases"].items(), key=lambda item: -item[1]["share"])
    most, second = ((name, entry["share"]) for name, entry in phases[:2])
    return (
        f"A step takes {1e3 * summary['step_seconds']:.1f} ms: {most[1]:.0%} {most[0]}, {second[1]:.0%} {second[0]} "
        f"(mean of {summary['steps']} traced steps)."
    )


def _phases(summary: dict[str, Any]) -> Any:
    rows = [
        (name, f"{1e3 * entry['seconds']:.2f}", f"{entry['share']:.1%}", _PHASES.get(name, ""))
        for name, entry in summary["phases"].items()
    ]
    parts = [table(("phase", "ms", "share", "what it is"), rows)]
    if not summary["data_seen"]:
        words = "No DataLoader was seen: time of other loaders is in other, or behind record_function('data_wait')."
        parts.append(html.P(words, className="caption"))
    return parts


def _operators(summary: dict[str, Any]) -> Any:
    rows = [
        (html.Code(entry["name"]), f"{entry['calls']:g}", f"{1e3 * entry['seconds']:.2f}", f"{entry['share']:.1%}")
        for entry in summary["operators"]
    ]
    return table(("operator", "calls", "own ms", "of the step"), rows)


def _traces(context: Context, found: Profiled) -> Any:
    path = context.run.folder.relative_to(context.root).as_posix()
    items = [html.Li([_link(path, file), f" ({file.stat().st_size / 1e6:.1f} MB)"]) for file in found.files]
    words = [
        "Each opens in Perfetto (ui.perfetto.dev, which reads it on your machine), and all of them in TensorBoard with "
        "torch-tb-profiler: ",
        command_line(f"tensorboard --logdir {shlex.quote(str(context.run.folder))}", "tensorboard"),
    ]
    return [html.Ul(items), html.Div(words, className="caption")]


def _link(path: str, file: Path) -> Any:
    return html.A(file.name, href=trace_address(path, file.name), target="_self")


def _card(title: str, *content: Any) -> Any:
    parts = [dmc.Title(title, order=2, size="h4"), *content]
    return dmc.Paper(parts, withBorder=True, p="md", radius="md", className="figure-card")


PAGE = Profile()
