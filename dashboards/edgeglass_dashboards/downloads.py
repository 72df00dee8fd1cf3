"""Files to take away: the readings that a page draws as CSV, and traces."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import flask

from edgeglass_dashboards.addresses import CSV, TRACE
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.overlaid import Source, overlaid
from edgeglass_dashboards.pages.compare import compared_runs
from edgeglass_dashboards.pages.signals import runs_beside
from edgeglass_dashboards.profiles import traces_below
from edgeglass_dashboards.runs import RunIndex, reading
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.overlay import Line
from edgeglass_diag.records import UsageError

COLUMNS = ("run", "signal", "site", "unit", "step", "value", "smoothed")


def add_download_routes(server: flask.Flask, index: RunIndex) -> None:
    """Add ``/_csv`` (of compared runs), ``/_csv/run/...`` (of one) and ``/_trace/run/...?file=...``."""

    def drawn(path: str | None = None) -> flask.Response:
        context = Context(index, View.parse(flask.request.query_string.decode()))
        try:
            with _runs(context, path) as runs:
                lines = overlaid(context.view, runs).lines
        except UsageError as error:
            flask.abort(404, str(error))
        response = flask.Response(written(lines), mimetype="text/csv")
        response.headers["Content-Disposition"] = "attachment; filename=signals.csv"
        response.headers["Cache-Control"] = "no-store"
        return response

    def trace(path: str) -> flask.Response:
        try:
            with reading(index.root, path) as run:
                files = {file.name: file for file in traces_below(run, index.root)}
        except UsageError as error:
            flask.abort(404, str(error))
        file = files.get(flask.request.args.get("file", ""))
        if file is None:
            flask.abort(404, "this run has no trace of that name")
        return flask.send_file(file.resolve(), mimetype="application/json", as_attachment=True)

    server.add_url_rule(f"{TRACE}/run/<path:path>", "trace", trace)
    server.add_url_rule(f"{TRACE}/run/", "trace-of-folder", lambda: trace("."))
    server.add_url_rule(CSV, "csv", drawn)
    server.add_url_rule(f"{CSV}/run/<path:path>", "csv-of-run", drawn)
    server.add_url_rule(f"{CSV}/run/", "csv-of-folder", lambda: drawn("."))


@contextmanager
def _runs(context: Context, path: str | None) -> Iterator[Mapping[str, Source]]:
    if path is None:
        with compared_runs(context) as runs:
            yield runs
        return
    with reading(context.root, path) as run, runs_beside(context.of(run)) as runs:
        yield runs


def written(lines: tuple[Line, ...]) -> str:
    """Return the readings that are drawn, one a row; those that are not finite as ``nan``, ``inf`` and ``-inf``."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for line in lines:
        averages = [""] * len(line.steps) if line.smooth is None else map(_number, line.smooth.tolist())
        of = [_text(line.run), str(line.signal), _text(line.site), line.signal.unit]
        for step, value, average in zip(line.steps.tolist(), line.values.tolist(), averages, strict=True):
            rows.writerow([*of, step, repr(value), average])
    return file.getvalue()


def _number(value: float) -> str:
    return "" if value != value else repr(value)


def _text(words: str) -> str:
    """A text that no program of tables takes for a formula."""
    return f"'{words}" if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words
