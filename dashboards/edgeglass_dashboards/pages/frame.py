"""The frame around every page: its head, its ways to the others, and how it is kept up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import dash_mantine_components as dmc
from dash import dcc, html
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Change, Cursor, changed_sections, digest
from edgeglass_dashboards.keys import letters
from edgeglass_dashboards.pages.page import Page
from edgeglass_dashboards.pages.summary import announcement
from edgeglass_dashboards.state import run_state
from edgeglass_diag.records import RunStatus


def layout(page: Page, pages: Sequence[Page], context: Context, path: str, address: str) -> Any:
    """The whole page as it is drawn first; ``pages`` are those one can go to, ``address`` the one it stands at."""
    changes, cursor = changes_since(page, context, Cursor(path, uuid4().hex, page.name))
    content = {name: properties["children"] for name, properties in changes if "children" in properties}
    ended = context.opened is not None and context.run.status != RunStatus.RUNNING
    state = next((properties["data"] for name, properties in changes if name == "state"), None)
    still = any(name == "live" and properties["disabled"] for name, properties in changes)
    return html.Div(
        [
            dcc.Interval(id="live", interval=1000, disabled=still),
            _head(page, pages, context, content, ended=ended),
            page.body(context, content),
        ],
        className=f"overview page-{page.name}",
        **{
            "data-token": cursor.token,
            "data-cursor": to_json_plotly(cursor.as_dict()),
            "data-page": _key(page, context, address),
            "data-ended": json.dumps(ended),
            **({} if state is None else {"data-state": to_json_plotly(state)}),
        },
    )


def _key(page: Page, context: Context, address: str) -> str:
    """What the page's own script takes for the same page: what changes on it is sent, another one is drawn."""
    if context.opened is None:
        return address
    more = getattr(page, "key", None)
    return f"{address}|{page.name}" + (f"|{more(context)}" if more else "")


def changes_since(page: Page, context: Context, cursor: Cursor) -> tuple[list[Change], Cursor]:
    """What changed on the page since ``cursor``, and the cursor after that."""
    import pandas  # noqa: F401  plotly takes a pandas that another thread has half imported for a whole one

    ended = _has_ended(page, context)  # first: later readings come next time
    fresh, after = ({}, cursor) if context.opened is None else cursor.advance(context.run, page.signals)
    context = replace(context, fresh=fresh, recent=after.recent)
    sections = page.sections(context)
    if context.opened is not None:
        sections["announcement"] = announcement(context.run)
    changes, seen = changed_sections(sections, cursor.seen)
    if context.opened is not None:
        state = run_state(context.run, cursor.path)
        if seen.get("state") != digest(state):
            changes.append(("state", {"data": state}))
            seen = {**seen, "state": digest(state)}
    after = replace(after, seen=seen)
    for panel in page.panels(context):
        more, after = panel.update(context, cursor, after)
        changes += more
    if context.opened is None and ended is not None:
        changes.append(("live", {"disabled": ended}))  # False too: other runs may have been chosen
    elif ended:
        pending = getattr(page, "pending", None)
        changes += [
            ("live", {"disabled": not (pending and pending(context))}),
            ("following", {"disabled": True, "label": "Ended"}),
        ]
    return changes, after


def _has_ended(page: Page, context: Context) -> bool | None:
    """Whether nothing new comes to the page; None where it does not say so, as a list of runs."""
    if context.opened is not None:
        return context.run.status != RunStatus.RUNNING
    ended = getattr(page, "ended", None)
    return None if ended is None else bool(ended(context))


def _head(page: Page, pages: Sequence[Page], context: Context, content: dict[str, Any], *, ended: bool) -> Any:
    title = context.run.name if context.opened is not None else page.title
    row = [dmc.Title(title, order=1, size="h3", className="run-name")]
    if "progress" in content:
        row.append(html.Div(content["progress"], id="progress"))
    if context.opened is not None:
        row.append(_switch(ended=ended))
    children: list[Any] = [dmc.Group(row, justify="space-between")]
    if context.opened is not None:
        children.append(html.Div(content["announcement"], id="announcement", className="unseen", role="status"))
        children.append(_tabs(page, pages, context))
    children.append(html.P(page.question, className="question"))
    return html.Header(children)


def _switch(*, ended: bool) -> Any:
    return dmc.Switch(
        id="following",
        checked=True,
        disabled=ended,
        label="Ended" if ended else "Live",
        **{"aria-label": "Update this page while the run goes on"},
    )


def _tabs(page: Page, pages: Sequence[Page], context: Context) -> Any:
    links = []
    keys = letters(other.title for other in pages)
    for other in pages:
        here = {"aria-current": "page"} if other.name == page.name else {}
        href = "?" if other.name == "overview" else f"?page={other.name}"
        why = getattr(other, "unavailable", lambda _: "")(context)
        greyed = {"className": "greyed", "title": why} if why else {}
        key = {"data-key": keys[other.title]} if other.title in keys else {}
        links.append(html.Li(html.A(other.title, href=href, **here, **greyed, **key)))
    return html.Nav(html.Ul(links), className="tabs", **{"aria-label": "Pages of this run"})
