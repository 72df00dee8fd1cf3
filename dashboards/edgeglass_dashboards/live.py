"""The addresses that a page in the browser asks again and again; all only read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flask
from plotly.io.json import to_json_plotly
from pydantic import ValidationError

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Change, Cursor, digest
from edgeglass_dashboards.door import first_fault
from edgeglass_dashboards.pages.catalogue import ROOT_PAGES, page_named
from edgeglass_dashboards.pages.frame import changes_since
from edgeglass_dashboards.runs import RunEntry, RunIndex, reading, state_of
from edgeglass_dashboards.state import run_state
from edgeglass_dashboards.view import View
from edgeglass_diag.records import UsageError

WAITING = "files"
"""What a page of a run that cannot be read has seen: the state of the run's files."""


def run_options(entries: Iterable[RunEntry]) -> list[dict[str, str]]:
    """All runs as the picker wants them: the address as value, newest first, those that cannot be read at the end."""
    return [
        {"value": entry.address, "label": f"{entry.label} - cannot be read" if entry.problem else entry.label}
        for entry in entries
    ]


def add_live_routes(server: flask.Flask, index: RunIndex) -> None:
    """Add ``/_live`` (what is new on the page), ``/_runs`` (which runs there are), ``/_state`` (how one stands)."""

    def live() -> flask.Response:
        asked = flask.request.args
        try:
            cursor = Cursor.parse(asked.get("cursor", ""))
        except ValidationError as error:
            flask.abort(400, f"no cursor: {first_fault(error)}")
        context = Context(
            index,
            View.parse(asked.get("search", "")),
            "dark" if asked.get("scheme") == "dark" else "light",
            hold=asked.get("hold") == "1",
        )
        return _json(news(context, cursor))

    def runs() -> flask.Response:
        return _json(run_options(index.entries()))

    def state() -> flask.Response:
        path = flask.request.args.get("path", "")
        try:
            with reading(index.root, path) as run:
                return _json({key: value for key, value in run_state(run, path).items() if key != "findings"})
        except UsageError:
            flask.abort(404, "no such run")

    server.add_url_rule("/_state", "state", state)
    server.add_url_rule("/_live", "live", live)
    server.add_url_rule("/_runs", "runs", runs)


def news(context: Context, cursor: Cursor) -> dict[str, Any]:
    """What is new since ``cursor``: changed properties and the next cursor, or the wish to draw the page anew."""
    if WAITING in cursor.seen:
        return {"redraw": cursor.seen[WAITING] != digest(state_of(context.root, cursor.path))}
    try:
        changes, after = _changes(context, cursor)
    except UsageError:
        return {"redraw": True}  # which says why
    return {"changes": changes, "cursor": after.as_dict()}


def _changes(context: Context, cursor: Cursor) -> tuple[list[Change], Cursor]:
    if cursor.path in ROOT_PAGES:
        return changes_since(ROOT_PAGES[cursor.path], context, cursor)
    page = page_named(cursor.page)
    if page is None:
        raise UsageError(f"there is no page {cursor.page!r}")
    with reading(context.root, cursor.path) as run:
        return changes_since(page, context.of(run), cursor)


def _json(data: object) -> flask.Response:
    response = flask.Response(to_json_plotly(data), mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
