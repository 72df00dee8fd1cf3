"""The dashboard's app factory: the frame around the pages, and which address shows what."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import dash
import dash_mantine_components as dmc
from dash import ClientsideFunction, Input, Output, State, dcc, html
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.addresses import path_of
from edgeglass_dashboards.base_path import below
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor, digest
from edgeglass_dashboards.door import OUTPUTS, guard_the_door
from edgeglass_dashboards.downloads import add_download_routes
from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.keys import help_dialog
from edgeglass_dashboards.live import WAITING, add_live_routes, run_options
from edgeglass_dashboards.pages.catalogue import ROOT_PAGES, RUN_PAGES, page_named
from edgeglass_dashboards.pages.frame import layout
from edgeglass_dashboards.pair_pictures import add_picture_routes
from edgeglass_dashboards.runs import RunIndex, reading, state_of
from edgeglass_dashboards.security import Access, protect
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.figures.timeline import COLORS, HALO
from edgeglass_diag.records import UsageError

_INDEX = """<!DOCTYPE html>
<html lang="en">
    <head>
        {%metas%}
        <title>{%title%}</title>
        {%favicon%}
        {%css%}
    </head>
    <body>
        {%app_entry%}
        <footer>
            {%config%}
            {%scripts%}
            {%renderer%}
        </footer>
    </body>
</html>
"""


CONTROLS = {"query": "value", "compared": "value", "shown": "value", "shown-sites": "value", "smooth": "value",
            "log": "checked", "ranks": "checked"}  # fmt: skip
"""Controls whose choice is a part of the address, and the property that has it."""


def create_app(runs_dir: Path, access: Access | None = None) -> dash.Dash:
    """The dashboard of all runs below ``runs_dir``, which need not exist yet.

    ``/`` shows the newest run and follows newer ones, ``/run/<path below runs_dir>`` shows that run, ``/runs`` lists
    all of them, ``/compare`` sets some side by side. ``access`` says who may look; loopback alone where None.
    """
    access = access or Access()
    app = dash.Dash(
        __name__,
        requests_pathname_prefix=f"{access.base or ''}/",
        routes_pathname_prefix="/",
        title="edgeglass-diag",
        update_title="",
        index_string=_INDEX,
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        suppress_callback_exceptions=True,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "color-scheme", "content": "light dark"},
        ],
    )
    index = RunIndex(runs_dir)
    app.layout = _frame()
    _add_callbacks(app, index)
    add_live_routes(app.server, index)
    add_download_routes(app.server, index)
    add_picture_routes(app.server, index)
    guard_the_door(app.server)
    protect(app.server, app.csp_hashes(), access)
    if access.base:
        app.server.wsgi_app = below(app.server.wsgi_app, access.base)
    return app


def draw_page(index: RunIndex, place: dict[str, Any]) -> tuple[Any, list[dict[str, str]], str | None]:
    """The page for an address, the runs to pick from, and the address of the run that is shown."""
    entries = index.entries()
    options = run_options(entries)
    address, search = str(place.get("address", "/")), str(place.get("search", ""))
    scheme = "dark" if place.get("scheme") == "dark" else "light"
    context = Context(index, View.parse(search), scheme)
    if address in ROOT_PAGES:
        return _root_page(context, address), options, None
    if address == "/" and not options:
        return _no_runs(), options, None
    path = entries[0].path if address == "/" else path_of(address)
    page = page_named(context.view.page)
    if path is None or page is None:
        return _problem("No such page", f"There is no page at {address}{search}."), options, None
    known = next((entry for entry in entries if entry.path == path), None)
    shown = None if known is None else known.address
    try:
        with reading(index.root, path) as run:
            drawn = layout(page, RUN_PAGES, context.of(run), path, address)
    except UsageError as error:
        reason = known.problem if known is not None and known.problem else str(error)
        return _waiting(index, path, reason), options, shown
    return drawn, options, shown


def _root_page(context: Context, address: str) -> Any:
    try:
        return layout(ROOT_PAGES[address], (), context, address, address)
    except UsageError as error:  # a run broke while it was read
        return _problem("This page cannot be shown", f"{error}.")


def _frame() -> Any:
    brand = html.A("edgeglass-diag", href="/", className="brand", title="The newest run")
    ways = html.Nav(
        [html.A("Runs", href="/runs"), html.A("Compare", href="/compare")],
        className="ways",
        **{"aria-label": "All runs"},
    )
    toggle = dmc.ColorSchemeToggle(
        lightIcon=icon("light"),
        darkIcon=icon("dark"),
        size="lg",
        variant="default",
        id="scheme",
        **{"aria-label": "Switch between dark and light"},
    )
    picker = dmc.Select(
        id="picker",
        data=[],
        placeholder="pick a run",
        searchable=True,
        allowDeselect=False,
        nothingFoundMessage="no run of that name",
        className="picker",
        **{"aria-label": "Run to show"},
    )
    bar = [brand, ways, picker, toggle, html.Div(id="connection", role="alert")]
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="place"),
            dcc.Store(id="templates", data={k: v.to_plotly_json() for k, v in TEMPLATES.items()}),
            dcc.Store(id="paints", data={scheme: _paints(scheme) for scheme in TEMPLATES}),
            dcc.Interval(id="watch", interval=2000),
            html.A("Skip to the content", href="#page", className="skip-link"),
            html.Div(bar, className="bar", role="banner"),
            html.Main(id="page", tabIndex="-1"),
            dmc.NotificationContainer(id="toasts", position="bottom-right"),
            help_dialog(page.title for page in RUN_PAGES),
        ],
        defaultColorScheme="auto",
    )


def _paints(scheme: str) -> list[str]:
    """The colours that figures give to their lines and marks in one scheme, in the same order in each."""
    layout = TEMPLATES[scheme].layout
    return [*layout.colorway, layout.font.color, *COLORS[scheme].values(), HALO[scheme]]


def _add_callbacks(app: Any, index: RunIndex) -> None:
    def page(place: dict[str, Any] | None) -> tuple[Any, list[dict[str, str]], str | None]:
        return draw_page(index, place or {})

    app.callback(*(Output(*place) for place in OUTPUTS), Input("place", "data"))(page)

    def client(function: str, *arguments: Any) -> None:
        app.clientside_callback(ClientsideFunction("edgeglass", function), *arguments)

    client(
        "place",
        Output("place", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        State("templates", "data"),
        State("paints", "data"),
    )
    client("poll", Input("live", "n_intervals"))
    client("follow", Input("following", "checked"))
    client("watch", Input("watch", "n_intervals"), State("picker", "data"), State("place", "data"))
    client("navigate", Input("picker", "value"), State("picker", "data"), State("url", "pathname"))
    client("slide", Input("step", "value"), State("step", "max"))
    for control, value in CONTROLS.items():
        client("choose", Input(control, value))


def _no_runs() -> Any:
    return html.Div(
        [
            dmc.Title("No runs yet", order=1, size="h3"),
            html.P("This page shows a run as soon as there is one; it need not be reloaded."),
            html.P(["Start one with ", html.Code("edgeglass-diag run"), " and let it write below this folder."]),
        ],
        className="overview",
    )


def _waiting(index: RunIndex, path: str, reason: str) -> Any:
    """The page of a run that cannot be read (yet): it asks each second whether its files have changed."""
    cursor = Cursor(path, uuid4().hex, seen={WAITING: digest(state_of(index.root, path))})
    return html.Div(
        [
            dcc.Interval(id="live", interval=1000),
            dmc.Switch(id="following", checked=True, style={"display": "none"}),
            _problem("This run cannot be shown", f"{reason}. The page appears by itself once the run can be read."),
        ],
        **{"data-token": cursor.token, "data-cursor": to_json_plotly(cursor.as_dict())},
    )


def _problem(title: str, text: str) -> Any:
    return html.Div([dmc.Title(title, order=1, size="h3"), html.P(text)], className="overview")
