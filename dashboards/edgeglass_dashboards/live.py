"""The two addresses that a page in the browser asks again and again; both only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.pages import overview
from edgeglass_dashboards.runs import list_runs, open_run
from edgeglass_diag.records import UsageError


def run_options(root: Path) -> list[dict[str, str]]:
    """All runs as the picker wants them: the address as value, newest first."""
    return [{"value": entry.address, "label": entry.label} for entry in list_runs(root)]


def add_live_routes(server: flask.Flask, root: Path) -> None:
    """Add ``/_live`` (what is new in the run on the screen) and ``/_runs`` (which runs there are)."""

    def live() -> flask.Response:
        try:
            cursor = Cursor.parse(flask.request.args.get("cursor", ""))
        except ValueError as error:
            flask.abort(400, str(error))
        scheme = "dark" if flask.request.args.get("scheme") == "dark" else "light"
        return _json(news(root, cursor, scheme))

    def runs() -> flask.Response:
        return _json(run_options(root))

    server.add_url_rule("/_live", "live", live)
    server.add_url_rule("/_runs", "runs", runs)


def news(root: Path, cursor: Cursor, scheme: str) -> dict[str, Any]:
    """What is new since ``cursor``: changed properties and the next cursor, or the wish to draw the page anew."""
    try:
        run = open_run(root, cursor.path)
    except UsageError:
        return {"redraw": bool(cursor.seen)}
    with run:
        if not cursor.seen:  # the page waited for a run that was not whole yet
            return {"redraw": True}
        changes, after = overview.changes_since(run, cursor, scheme)
    return {"changes": changes, "cursor": after.as_dict()}


def _json(data: object) -> flask.Response:
    response = flask.Response(to_json_plotly(data), mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
