"""Whatever a request asks, the answer is a page, 400 or 404: forged callbacks, cursors, addresses and heads."""

import copy
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeglass_dashboards.app import create_app
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor, digest
from edgeglass_dashboards.live import WAITING, news
from edgeglass_dashboards.pages.catalogue import ROOT_PAGES, RUN_PAGES
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.view import View

CALLBACK = "/_dash-update-component"
OUTPUTS = (("page", "children"), ("picker", "data"), ("picker", "value"))
BODY = {
    "output": "..page.children...picker.data...picker.value..",
    "outputs": [{"id": name, "property": field} for name, field in OUTPUTS],
    "inputs": [{"id": "place", "property": "data", "value": {"address": "/run/real", "search": "", "scheme": "dark"}}],
    "changedPropIds": ["place.data"],
}
FAULTS = (400, 404)
HUGE = [
    "9" * 5000,
    "-" + "9" * 400,
    "1e999",
    "NaN",
    "Infinity",
    "[" * 3000 + "]" * 3000,
    '{"a":' * 500 + "1" + "}" * 500,
]
few = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))

texts = st.text(max_size=20) | st.sampled_from(["\ud800", "\0", "\r\n", "..", "a" * 5000, "<script>", "ü", "%ff"])
numbers = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**30, -1, 0])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def places_of(data, path=()):
    """The paths to all parts of JSON data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, part in inner for place in places_of(part, (*path, key)))]


@st.composite
def forged(draw, data):
    """JSON data with one to three parts replaced, left out or added."""
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([place for place in places_of(data) if place] or [("x",)]))
        holder = data
        for key in way:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "remove":
            del holder[last]
        elif isinstance(holder, dict) and kind == "add":
            holder[draw(texts)] = draw(values)
        else:
            holder[last] = draw(values)
        if not data:
            break
    return data


@pytest.fixture(scope="module")
def client(trained):
    return create_app(trained).server.test_client()


@pytest.fixture(scope="module")
def cursors(trained):
    """What a page sends after it was drawn, of each page."""
    context = Context(RunIndex(trained), View(site="", table=True))
    drawn = []
    for page in RUN_PAGES:
        drawn.append(news(context, Cursor("real", "token", page.name, seen={"any": ""}))["cursor"])
    drawn += [news(context, Cursor(address, "token"))["cursor"] for address in ROOT_PAGES]
    return [json.loads(json.dumps(cursor).replace("NaN", "null")) for cursor in drawn]


def check(answer, capfd, *, fine=(200,)):
    assert answer.status_code in (*fine, *FAULTS), answer.get_data(as_text=True)
    assert capfd.readouterr().err == ""
    if answer.status_code in FAULTS:
        assert answer.mimetype == "text/plain"
        assert answer.get_data(as_text=True).count("\n") == 1
    return answer


def call(client, body, kind="application/json"):
    return client.post(CALLBACK, data=body, content_type=kind, base_url="http://127.0.0.1:8050")


def ask(client, path, query=b""):
    environ = {"PATH_INFO": path, "QUERY_STRING": query.decode("latin-1"), "SERVER_PORT": "8050"}
    return client.get("/", base_url="http://127.0.0.1:8050", environ_overrides=environ)


def test_a_call_of_ours_is_answered(client, capfd):
    answer = check(call(client, json.dumps(BODY)), capfd, fine=(200,)).get_json()["response"]
    assert answer["picker"]["value"] == "/run/real"


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b'{"output": "\xff"}', *HUGE])
def test_what_is_no_call_is_refused(client, capfd, body):
    assert check(call(client, body), capfd).status_code == 400


@pytest.mark.parametrize("text", HUGE)
@pytest.mark.parametrize(
    "place", ["output", "outputs", "inputs", "value", "address", "state", "changedPropIds", "more"]
)
def test_huge_values_in_a_call_are_refused_or_left_out(client, capfd, place, text):
    body = copy.deepcopy(BODY)
    holder = body["inputs"][0] if place == "value" else body["inputs"][0]["value"] if place == "address" else body
    holder[place] = "HERE"
    check(call(client, json.dumps(body).replace('"HERE"', text)), capfd, fine=(200,) if place == "more" else ())


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=x"])
def test_a_call_of_another_type(client, capfd, kind):
    check(call(client, json.dumps(BODY), kind), capfd, fine=(200,) if kind.startswith("application/json") else ())


@pytest.mark.parametrize("output", ["page.children", "live.disabled", "..page.children..", "place.data", ""])
def test_another_output_is_refused(client, capfd, output):
    assert check(call(client, json.dumps({**BODY, "output": output})), capfd).status_code == 400


@pytest.mark.parametrize(
    "path",
    ["/_dash-component-suites/none/x.js", "/_dash-component-suites/dash/../app.py", "/_dash-component-suites/dash/x.js",
     "/_dash-component-suites/dash/dcc/\0.js", "/assets/../app.py", "/assets/\0", "/assets/none", "/_mcp", "//x",
     "/_dash-update-component", "/_reload-hash", "/_favicon.ico", "/_dash-layout", "/_dash-dependencies"],
)  # fmt: skip
def test_any_file_that_is_asked_for(client, capfd, path):
    check(ask(client, path), capfd)


@pytest.mark.parametrize("path", ["a\0b", "../secret", "x" * 5000, "/etc", "\ud800", ".."])
def test_a_cursor_that_waits_for_another_place_learns_nothing(client, capfd, path):
    asked = [check(ask(client, "/_live", f"cursor={quote(json.dumps(vars_of(path, seen)))}".encode()), capfd)
             for seen in ("", digest([]))]  # fmt: skip
    assert [answer.get_json() if answer.status_code == 200 else None for answer in asked] in (
        [{"redraw": True}, {"redraw": False}],
        [None, None],
    )


def vars_of(path, seen):
    return Cursor(path, "token", seen={WAITING: seen}).as_dict()


def test_a_fault_of_ours_is_a_line_here_and_there(trained, capfd, monkeypatch):
    def fail(self):
        raise ZeroDivisionError("of\nours")

    client = create_app(trained).server.test_client()
    monkeypatch.setattr(RunIndex, "entries", fail)
    answer = ask(client, "/_runs")
    text = "500 Internal Server Error: the dashboard cannot answer this request\n"
    assert (answer.status_code, answer.get_data(as_text=True)) == (500, text)
    assert capfd.readouterr().err == "dashboard: /_runs: ZeroDivisionError: of ours\n"


def test_more_fields_than_a_view_has(client, capfd):
    body = copy.deepcopy(BODY)
    body["inputs"][0]["value"]["search"] = "?" + "&".join(f"a{n}=1" for n in range(1000))
    check(call(client, json.dumps(body)), capfd)


class Forging:
    """The properties; once with few examples and once with many."""

    def forged_call(self, data, client, capfd):
        check(call(client, json.dumps(data.draw(forged(BODY) | values))), capfd)

    def any_place(self, data, client, capfd):
        body, way = copy.deepcopy(BODY), st.sampled_from(["/", "/run/", "/run/real", "/run/../", "/runs", "/compare"])
        pages = st.sampled_from([page.name for page in RUN_PAGES])
        names = st.sampled_from(["page", "site", "step", "signal", "table", "runs", "status", "query"])
        address = data.draw(way) + data.draw(texts)
        fields = [
            *data.draw(st.lists(st.tuples(names, texts | values.map(str)), max_size=6)),
            ("page", data.draw(pages)),
        ]
        search = "&".join(f"{name}={quote(text, errors='replace')}" for name, text in fields)
        body["inputs"][0]["value"] |= {"address": address, "search": "?" + search}
        check(call(client, json.dumps(body)), capfd)

    def forged_cursor(self, data, client, capfd, cursors):
        cursor = data.draw(st.sampled_from(cursors))
        text = json.dumps(data.draw(forged(cursor) | values))
        query = (
            f"cursor={quote(text)}&search={quote(data.draw(texts), errors='replace')}&hold={data.draw(st.booleans()):d}"
        )
        check(ask(client, "/_live", query.encode()), capfd)

    def any_address(self, data, client, capfd):
        routes = ["/", "/_live", "/_runs", "/_dash-layout", "/assets/", "/_dash-component-suites/dash/", "/run/"]
        path = data.draw(st.sampled_from(routes)) + data.draw(st.binary(max_size=30)).decode("latin-1")
        check(ask(client, path, data.draw(st.binary(max_size=60))), capfd)


KINDS = ("forged_call", "any_place", "forged_cursor", "any_address")


def holds(kind, data, client, capfd, cursors):
    capfd.readouterr()
    more = (cursors,) if kind == "forged_cursor" else ()
    getattr(Forging(), kind)(data, client, capfd, *more)


@pytest.mark.parametrize("kind", KINDS)
@few
@given(data=st.data())
def test_no_request_is_a_fault_of_ours(kind, data, client, capfd, cursors):
    holds(kind, data, client, capfd, cursors)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@many
@given(data=st.data())
def test_no_request_of_many_is_a_fault_of_ours(kind, data, client, capfd, cursors):
    holds(kind, data, client, capfd, cursors)
