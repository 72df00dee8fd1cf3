"""Who may look, the verb, the page that is sent around."""

import re
import signal
import subprocess
import sys
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgeglass_dashboards.__main__ import access_for, address_of, listen
from edgeglass_dashboards.app import create_app
from edgeglass_dashboards.pages.catalogue import RUN_PAGES
from edgeglass_dashboards.security import Access
from edgeglass_dashboards.static import static_page, write
from edgeglass_dashboards.view import View
from edgeglass_diag.records import Finding, Severity, UsageError
from tests.helpers.dashboard_runs import start, window, write_collapsed, write_healthy
from tests.helpers.waiting import PATIENCE

TOKEN = "correct-horse-battery"
SCRIPT = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def open_to_all(tmp_path):
    write_healthy(tmp_path / "baseline", steps=30)
    return create_app(tmp_path, Access("0.0.0.0", TOKEN)).server.test_client()


def get(client, path="/", host="192.0.2.7:8050"):
    environ = {"HTTP_HOST": host, "SERVER_PORT": "8050", "SERVER_NAME": "0.0.0.0"}
    return client.get(path, environ_overrides=environ)


@pytest.mark.parametrize("path", ["/", "/_live", "/_runs", "/_dash-layout", "/assets/live.js", "/run/baseline"])
@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=correct-horse-batter", "?token=%FF"])
def test_nothing_is_answered_without_the_token(open_to_all, path, query):
    assert get(open_to_all, path + query).status_code == 403


def test_the_token_is_taken_out_of_the_address_and_kept_from_scripts(open_to_all):
    answer = get(open_to_all, f"/run/baseline?page=signal&token={TOKEN}&step=3")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/run/baseline?page=signal&step=3")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    open_to_all.set_cookie("edgeglass-8050", TOKEN, domain="192.0.2.7")
    assert get(open_to_all, "/_runs").status_code == 200


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", "/"),
        ("/runs", "/runs"),
        ("/compare", "/compare"),
        ("/run/", "/run/"),
        ("/run/incident/a b", "/run/incident/a%20b"),
        ("/run/a%2Fb", "/run/a%252Fb"),
        ("/run/ü", "/run/%C3%BC"),
        ("/run/\udcff", "/run/%FF"),
        ("/run//evil.example", "/run//evil.example"),
        ("/run/\t/evil.example", "/run/%09/evil.example"),
        ("/run/a\r\nSet-Cookie: x=y", "/run/a%0D%0ASet-Cookie%3A%20x%3Dy"),
        ("/run/..//evil.example", "/"),
        ("/run/a/../../evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t\\evil.example", "/"),
        ("/%09/evil.example", "/"),
        ("/%2F/evil.example", "/"),
        ("/%5Cevil.example", "/"),
        ("/\r\nLocation: //evil.example", "/"),
        ("/\0/evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/runs//evil.example", "/"),
        ("/elsewhere", "/"),
        ("", "/"),
    ],
)
def test_a_redirect_leads_to_a_page_of_ours(open_to_all, path, place):
    raw = path.encode("utf-8", "surrogateescape").decode("latin-1")
    environ = {"HTTP_HOST": "192.0.2.7:8050", "SERVER_PORT": "8050", "PATH_INFO": raw}
    answer = open_to_all.get("/", query_string={"token": TOKEN}, environ_overrides=environ)
    assert (answer.status_code, answer.headers["Location"]) == (303, place)


def test_a_redirect_keeps_what_a_view_knows_and_nothing_else(open_to_all):
    query = {"token": TOKEN, "page": "signal", "site": "//evil.example\r\nX: y", "next": "//evil.example", "step": "-1"}
    environ = {"HTTP_HOST": "192.0.2.7:8050", "SERVER_PORT": "8050"}
    answer = open_to_all.get("/run/baseline", query_string=query, environ_overrides=environ)
    assert answer.headers["Location"] == "/run/baseline?page=signal&site=%2F%2Fevil.example%0D%0AX%3A+y"


@pytest.mark.parametrize("path", ["//evil.example", "/run//evil.example/", "///", "/run", "/runs/", "/assets"])
def test_nothing_else_is_answered_with_a_redirect(tmp_path, path):
    environ = {"HTTP_HOST": "127.0.0.1:8050", "SERVER_PORT": "8050", "PATH_INFO": path}
    answer = create_app(tmp_path).server.test_client().get("/", environ_overrides=environ)
    assert answer.status_code in (200, 404)


@pytest.mark.parametrize("host", ["rebound.example:8050", "192.0.2.7:8051", "192.0.2.7", ""])
def test_foreign_names_are_refused_with_the_token_too(open_to_all, host):
    assert get(open_to_all, f"/?token={TOKEN}", host).status_code == 403


def test_beyond_this_machine_a_token_is_made_where_none_is_given():
    assert access_for("127.0.0.1", None).token is None
    made = [access_for("0.0.0.0", None).token for _ in range(2)]
    assert all(len(token) >= 24 for token in made)
    assert made[0] != made[1]
    assert address_of(Access("192.0.2.7", "abc"), 8050) == "http://192.0.2.7:8050/?token=abc"
    assert access_for("0.0.0.0", TOKEN).token == TOKEN


def test_a_host_that_is_not_of_this_machine_is_told():
    with pytest.raises(UsageError, match="is no address of this machine"):
        listen(8700, "192.0.2.7")


def test_the_verb_takes_the_next_port_and_says_so(tmp_path, command):
    with listen(8600) as taken:
        port = taken.getsockname()[1]
        line = [str(Path(sys.executable).parent / "edgeglass-diag"), "dashboard", str(tmp_path), "--port", str(port)]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        address = process.stdout.readline().strip()
        assert int(address.rpartition(":")[2]) > port
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert err.startswith(f"port {port} is taken; the next free one is ")


def test_wrong_use_of_the_verb_is_one_line(tmp_path, command):
    (tmp_path / "file").touch()
    done = command("dashboard", tmp_path / "file")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"edgeglass-diag: dashboard: expected a folder of runs, got the file .*\n", done.stderr)
    done = command("dashboard", tmp_path, "--static", tmp_path / "out.html")
    assert done.returncode == 2
    assert "--static: expected the folder of one run" in done.stderr


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.addresses = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "action")]


def test_the_static_page_is_whole_and_nothing_in_it_is_foreign(tmp_path):
    writer = start(tmp_path / "x", name=SCRIPT)
    finding = Finding("EG301", SCRIPT, Severity.CRITICAL, SCRIPT, 0, SCRIPT, {SCRIPT: SCRIPT}, SCRIPT)
    for step in range(5):
        writer.write(window(step), [finding])
    writer.finish("finished", {})
    page = static_page(tmp_path / "x")
    tags = Tags()
    tags.feed(page)
    assert not tags.seen & {"img", "iframe", "link", "object", "form"}
    assert all(address.startswith("#") for address in tags.addresses)
    assert "default-src 'none'" in page
    assert page.count('class="page-title"') == len(RUN_PAGES)


def test_the_static_page_is_drawn_by_a_browser(tmp_path, browser):
    write_collapsed(tmp_path / "perceiver")
    write(tmp_path / "perceiver", tmp_path / "out.html")
    page = browser.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "out.html").as_uri())
    page.locator("#page-overview .js-plotly-plot").first.wait_for()
    assert page.locator("#page-overview", has_text="Collapsed at step 20").count() == 1
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_what_a_view_cannot_read_is_left_out():
    assert View.parse("?step=-1&page=attention&runs=" + "&runs=".join("abcdefgh")) == View(
        page="attention", runs=tuple("abcdef")
    )
    odd = View.parse("?site=%ff%00&step=" + "9" * 400 + "&signal=%3Cb%3E")
    assert odd.step is None
    assert View.parse(odd.link()) == odd


def test_an_address_of_another_page_is_answered(tmp_path):
    write_healthy(tmp_path / "x", steps=20)
    client = create_app(tmp_path).server.test_client()
    body = {
        "output": "..page.children...picker.data...picker.value..",
        "outputs": [{"id": "page", "property": "children"}, {"id": "picker", "property": "data"},
                    {"id": "picker", "property": "value"}],
        "inputs": [{"id": "place", "property": "data", "value": {"address": "/run/x", "search": "?page=<b>"}}],
        "changedPropIds": ["place.data"],
    }  # fmt: skip
    answer = client.post("/_dash-update-component", json=body, base_url="http://127.0.0.1:8050")
    assert answer.status_code == 200
    assert "There is no page at /run/x?page=<b>" in answer.get_json()["response"]["page"]["children"]["props"][
        "children"][1]["props"]["children"]  # fmt: skip
