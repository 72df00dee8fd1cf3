"""Odd runs and addresses: sites that take turns, lines that end early, NaN, relative folders, escaped paths."""

import json
from pathlib import Path

import pytest

from edgeglass_dashboards.app import create_app
from edgeglass_dashboards.attributions import attribution_of
from edgeglass_dashboards.base_path import below, checked_base
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.pages.catalogue import RUN_PAGES
from edgeglass_dashboards.pages.frame import changes_since, layout
from edgeglass_dashboards.pages.signals import PAGE as SIGNALS
from edgeglass_dashboards.runs import RunIndex, reading
from edgeglass_dashboards.security import Access
from edgeglass_dashboards.static import static_page
from edgeglass_dashboards.view import View
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.render.attribution import information_cells, information_words
from edgeglass_diag.signals.embeddings import EMBEDDING_SCALE
from edgeglass_diag.signals.parameters import OPTIMIZER_LR
from tests.helpers.dashboard_runs import start, window


def write_turns(folder):
    """A run whose newest window has another site than the ones before: of a prefix, and of an optimizer."""
    writer = start(folder)
    for step in range(60):
        pair = "i[:64] x t[:64]" if step % 3 else "i[:8] x t[:8]"
        group = "group0" if step < 59 else "optimizer1.group0"
        own = Reading(step, pair, EMBEDDING_SCALE, (10.0,)), Reading(step, group, OPTIMIZER_LR, (1e-3,))
        writer.write(Window(step, (*window(step).readings, *own)))
    writer.finish("finished", {})


@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda page: page.name)
def test_sites_that_take_turns_hide_no_page(tmp_path, page):
    write_turns(tmp_path / "turns")
    with reading(tmp_path, "turns") as run:
        context = Context(RunIndex(tmp_path), View(page=page.name), opened=run)
        assert layout(page, RUN_PAGES, context, "turns", "/run/turns")


def test_a_line_that_ends_early_draws_none_of_another_again(tmp_path):
    writer, index = start(tmp_path / "a"), RunIndex(tmp_path)
    view = View(page="signals", show=("loss/total", "metric/i2t/R@1"))

    def poll(cursor):
        with reading(tmp_path, "a") as run:
            return changes_since(SIGNALS, Context(index, view, opened=run), cursor)

    for step in range(60):
        writer.write(window(step, recall=0.1 if step % 50 == 0 else None))
    _, cursor = poll(Cursor("a", "t", "signals"))
    writer.write(window(60))
    changes, _ = poll(cursor)
    added = [properties["extendData"][0]["x"][0] for _, properties in changes if "extendData" in properties]
    assert added == [[60]]
    writer.finish("finished", {})


def test_a_trace_is_downloaded_from_a_relative_folder(tmp_path, monkeypatch):
    start(tmp_path / "runs" / "a").finish("finished", {})
    (tmp_path / "runs" / "a" / "profile").mkdir()
    (tmp_path / "runs" / "a" / "profile" / "x.pt.trace.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    client = create_app(Path("runs")).server.test_client()
    with client.get("/_trace/run/a?file=x.pt.trace.json", base_url="http://localhost:80") as answer:
        assert (answer.status_code, answer.data) == (200, b"{}")


def test_an_attribution_of_numbers_that_are_none_is_shown(tmp_path):
    start(tmp_path / "one").finish("finished", {})
    entry = {"information": "nan", "score": "nan", "R@1": 0.0, "share": None, "ci95": {"information": ["nan", "nan"]}}
    test = {"n": 4, "informed": False, "pairs": entry, "shuffled": entry}
    content = {"split": "val", "steps": 8, "largest_error": "nan", "information": test, "pairs": []}
    (tmp_path / "one" / "attribution").mkdir()
    (tmp_path / "one" / "attribution" / "attribution.json").write_text(json.dumps(content))
    with reading(tmp_path, "one") as run:
        found = attribution_of(run, tmp_path)
    assert "nan" in information_words(found.result["information"])
    assert all("nan" in cells[1] for cells in information_cells(found.result["information"]))


def test_a_base_path_with_an_escaped_character_is_taken_off():
    asked = []
    application = below(lambda environ, _: asked.append(environ["PATH_INFO"]) or [], checked_base("/user/me%40x/8050"))
    application({"PATH_INFO": "/user/me@x/8050/runs"}, None)
    assert asked == ["/runs"]


def test_a_base_path_without_its_last_slash_leads_to_the_one_with_it(tmp_path):
    """Whatever is found from there lies below it and not beside it."""
    server = create_app(tmp_path, Access(token="secret", base="/proxy/8050")).server
    answer = server.test_client().get("/proxy/8050?token=secret")
    assert (answer.status_code, answer.headers["Location"]) == (307, "8050/?token=secret")
    assert server.test_client().get("/proxy/8050/?token=secret").headers["Location"] == "./"


def test_the_token_is_kept_for_the_own_path_alone(tmp_path):
    client = create_app(tmp_path, Access(token="secret", base="/proxy/8050")).server.test_client()
    headers = {"X-Forwarded-Proto": "https"}
    answer = client.get("/?token=secret", base_url="http://localhost:80", headers=headers)
    cookie = answer.headers["Set-Cookie"]
    assert "Path=/proxy/8050/" in cookie
    assert "Secure" in cookie


def test_the_first_step_stays_in_an_address():
    assert View(page="attention", step=0).link() == "?page=attention&step=0"
    assert View(page="attention").link() == "?page=attention"


def test_a_page_without_a_server_has_the_profile(tmp_path):
    start(tmp_path / "a").finish("finished", {})
    (tmp_path / "a" / "profile").mkdir()
    (tmp_path / "a" / "profile" / "x.pt.trace.json").write_text(json.dumps({"traceEvents": []}))
    assert "appears here by itself" not in static_page(tmp_path / "a")
