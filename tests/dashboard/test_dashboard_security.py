import json
import re

import flask
import numpy as np
import pytest

from edgeglass_dashboards.addresses import path_of
from edgeglass_dashboards.app import create_app
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.live import news
from edgeglass_dashboards.pages.catalogue import RUN_PAGES
from edgeglass_dashboards.pages.frame import layout
from edgeglass_dashboards.runs import RunIndex, open_run
from edgeglass_dashboards.view import View
from edgeglass_diag.records import Finding, Severity, UsageError
from tests.helpers.dashboard_runs import start, window, write_collapsed, write_healthy

SCRIPT = "<img src=x onerror=alert(1)>"


@pytest.fixture
def client(tmp_path):
    write_healthy(tmp_path / "runs" / "baseline", steps=30)
    write_healthy(tmp_path / "secret", steps=30)
    return create_app(tmp_path / "runs").server.test_client()


def all_pages(root, path, scheme="light"):
    with open_run(root, path) as run:
        contexts = [Context(RunIndex(root), View(page.name, site="", table=True), scheme, run) for page in RUN_PAGES]
        return [layout(page, RUN_PAGES, context, path, "/") for page, context in zip(RUN_PAGES, contexts, strict=True)]


def get(client, path="/", host="127.0.0.1:8050"):
    return client.get(path, base_url="http://127.0.0.1:8050", headers={"Host": host})


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:8050", "LOCALHOST:8050", "localhost:9000", "127.0.0.1"])
def test_this_machine_is_served(client, host):
    assert get(client, host=host).status_code == 200


@pytest.mark.parametrize("path", ["/", "/_live", "/_runs", "/_dash-layout", "/assets/live.js"])
@pytest.mark.parametrize(
    "host", ["rebound.example:8050", "rebound.example", "localhost.example:8050", "0.0.0.0:8050", ""]
)
def test_foreign_hosts_are_refused_everywhere(client, host, path):
    environ = {"HTTP_HOST": host, "SERVER_PORT": "8050", "SERVER_NAME": "127.0.0.1"}
    assert client.get(path, environ_overrides=environ).status_code == 403


def test_ipv6_loopback_is_this_machine():
    from edgeglass_dashboards.security import is_allowed_host

    assert is_allowed_host("[::1]:8050", "8050")
    assert not is_allowed_host("[::2]:8050", "8050")


def test_headers_keep_the_browser_on_this_machine(client):
    answer = get(client)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_page_names_no_other_host(client):
    page = get(client).get_data(as_text=True)
    addresses = re.findall(r"""(?:src|href)=["']?([^"' >]*)""", page)
    assert addresses
    assert [address for address in addresses if not address.startswith("/") or address.startswith("//")] == []


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("path", ["/_live", "/_runs"])
def test_live_addresses_only_read(client, method, path):
    answer = getattr(client, method)(path, base_url="http://127.0.0.1:8050")
    assert answer.status_code == 405


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "[]",
        "{",
        '{"path": 1}',
        '{"path":"a","token":"","page":"x","rows":[],"recent":{},"seen":{},"drawn":{}}',
    ],
)
def test_a_cursor_that_is_none_is_refused(client, text):
    answer = client.get("/_live", query_string={"cursor": text}, base_url="http://127.0.0.1:8050")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "path",
    ["../secret", "baseline/../../secret", "/etc", "..", "baseline/../baseline", "link", "a\0b", "x" * 5000, "loop"],
)
def test_nothing_outside_the_folder_is_opened(client, tmp_path, path):
    root = tmp_path / "runs"
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(UsageError, match="not a run below the runs folder"):
        open_run(root, path)
    with pytest.raises(UsageError, match="not a run below the runs folder"):
        open_run(root, str(tmp_path / "secret"))
    assert [entry.path for entry in RunIndex(root).entries()] == ["baseline"]


def test_a_run_whose_store_is_a_link_to_another_place_is_not_opened(client, tmp_path):
    store = tmp_path / "runs" / "baseline" / "signals.sqlite"
    store.unlink()
    store.symlink_to(tmp_path / "secret" / "signals.sqlite")
    with pytest.raises(UsageError, match="not a run below"):
        open_run(tmp_path / "runs", "baseline")


@pytest.mark.parametrize("name", ["embeddings", "embeddings/step-3.safetensors", "signals.sqlite-wal"])
def test_a_run_of_which_a_part_is_a_link_to_another_place_is_not_opened(client, tmp_path, name):
    link = tmp_path / "runs" / "baseline" / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="not a run below"):
        open_run(tmp_path / "runs", "baseline")


def test_the_live_address_opens_nothing_outside(tmp_path):
    write_healthy(tmp_path / "secret", steps=30)
    (tmp_path / "runs").mkdir()
    cursor = Cursor("../secret", "t", seen={"verdict": "x"})
    assert news(Context(RunIndex(tmp_path / "runs"), View()), cursor) == {"redraw": True}


@pytest.mark.parametrize("name", ["a b", "100%", "a%2Fb", "a#b?c", "ü", "..hidden", "back\\slash", "\udcff"])
def test_any_folder_name_has_an_address(tmp_path, name):
    write_healthy(tmp_path / "group" / name, steps=30)
    (entry,) = RunIndex(tmp_path).entries()
    assert path_of(entry.address) == f"group/{name}"
    assert entry.label.encode("utf-8")


def test_the_folder_itself_may_be_a_run(tmp_path):
    write_healthy(tmp_path / "baseline", steps=30)
    (entry,) = RunIndex(tmp_path / "baseline").entries()
    assert (entry.address, path_of(entry.address)) == ("/run/", ".")


def as_plain(item):
    return item.tolist() if isinstance(item, np.ndarray) else item.to_plotly_json()


def test_markup_in_names_and_findings_stays_text(tmp_path):
    writer = start(tmp_path / "x", name=SCRIPT)
    finding = Finding("EG999", SCRIPT, Severity.CRITICAL, SCRIPT, 0, SCRIPT, {SCRIPT: SCRIPT}, SCRIPT)
    writer.write(window(0), [finding])
    page = json.dumps(all_pages(tmp_path, "x"), default=as_plain)
    writer.finish("finished", {})
    types = {part.split('"')[1] for part in page.split('"type": ')[1:] if part.startswith('"')}
    assert not types & {"Markdown", "DangerouslySetInnerHTML", "Iframe", "Script"}
    figures = page[page.index('"layout"') :]
    assert "dangerously" not in page
    assert SCRIPT not in figures.split('"uirevision"')[0]


def test_reading_leaves_the_run_as_it_was(tmp_path):
    write_collapsed(tmp_path / "perceiver")
    before = {file: file.read_bytes() for file in (tmp_path / "perceiver").iterdir()}
    all_pages(tmp_path, "perceiver", "dark")
    assert {file: file.read_bytes() for file in before} == before


def test_the_server_is_flask_without_a_session_key(tmp_path):
    server = create_app(tmp_path).server
    assert isinstance(server, flask.Flask)
    assert server.secret_key is None
