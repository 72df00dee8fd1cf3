"""A run that cannot be read beside one that can: a row that says why, its pages say why, and all else goes on."""

import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.app import create_app, draw_page
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.live import news
from edgeglass_dashboards.pages.catalogue import RUN_PAGES
from edgeglass_dashboards.runs import UNREADABLE, RunIndex, reading
from edgeglass_dashboards.view import View
from edgeglass_diag.records import UsageError
from tests.dashboard.test_dashboard_forged import call
from tests.helpers.dashboard_runs import start, window, write_collapsed, write_healthy

HEADER = {"format": "edgeglass-diag run", "version": 3, "name": "bad", "created": 1.0, "pid": 1, "status": "finished"}
NO_HEADERS = {
    "nothing": b"",
    "half": b'{"format": "edgeglass-diag run", "ver',
    "list": b"[]",
    "null": b"null",
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "another format": b'{"format": "x"}',
    "huge number": b'{"format": "edgeglass-diag run", "version": ' + b"9" * 5000 + b"}",
    "future": json.dumps({**HEADER, "version": 99}).encode(),
}
WRONG_FACTS = {
    "name": None, "created": "yesterday", "pid": "x", "status": "unheard of", "rules": 5, "rank": [1], "result": [1],
}  # fmt: skip


def replace(file, make):
    """Put another thing in the place of a file."""
    file.unlink()
    make(file)


def without_tables(file):
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE windows (step INTEGER, time REAL)")
    db.close()


def changed(statement):
    def change(run):
        with sqlite3.connect(run / "signals.sqlite") as db:
            db.execute(statement)
        db.close()

    return change


def cut(share):
    def truncate(run):
        store = run / "signals.sqlite"
        os.truncate(store, int(store.stat().st_size * share))

    return truncate


BREAKS = {
    **{
        f"run.json: {what}": (lambda run, c=content: (run / "run.json").write_bytes(c))
        for what, content in NO_HEADERS.items()
    },
    "run.json is missing": lambda run: (run / "run.json").unlink(),
    "run.json is a folder": lambda run: replace(run / "run.json", Path.mkdir),
    "run.json is a FIFO": lambda run: replace(run / "run.json", os.mkfifo),
    "run.json is a link to itself": lambda run: replace(run / "run.json", lambda file: file.symlink_to(file)),
    "run.json is a link to nothing": lambda run: replace(run / "run.json", lambda file: file.symlink_to(run / "none")),
    "store is missing": lambda run: (run / "signals.sqlite").unlink(),
    "store is empty": lambda run: (run / "signals.sqlite").write_bytes(b""),
    "store is text": lambda run: (run / "signals.sqlite").write_text("no database" * 1000),
    "store is a folder": lambda run: replace(run / "signals.sqlite", Path.mkdir),
    "store is a FIFO": lambda run: replace(run / "signals.sqlite", os.mkfifo),
    "store is a link to itself": lambda run: replace(run / "signals.sqlite", lambda file: file.symlink_to(file)),
    "store is cut to a tenth": cut(0.1),
    "store is cut to a half": cut(0.5),
    "store without tables": lambda run: replace(run / "signals.sqlite", without_tables),
    "readings of another length": changed("UPDATE slices SET data = x'00'"),
    "readings as text": changed("UPDATE slices SET data = 'text'"),
    "layouts of another length": changed("UPDATE layouts SET entries = x'00'"),
    "layouts that are missing": changed("DELETE FROM layouts"),
    "findings that are none": changed("UPDATE findings SET record = '[]'"),
    "findings that are no JSON": changed("UPDATE findings SET record = x'ff'"),
    "steps that are none": changed("UPDATE slices SET step = 'x'"),
}


@pytest.fixture
def runs(tmp_path):
    write_collapsed(tmp_path / "bad")
    write_healthy(tmp_path / "good", steps=30)
    return tmp_path


def page_at(client, address, search=""):
    value = {"address": address, "search": search, "scheme": "light"}
    outputs = (("page", "children"), ("picker", "data"), ("picker", "value"))
    body = {
        "output": "..page.children...picker.data...picker.value..",
        "outputs": [{"id": name, "property": field} for name, field in outputs],
        "inputs": [{"id": "place", "property": "data", "value": value}],
        "changedPropIds": ["place.data"],
    }
    answer = call(client, json.dumps(body))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return json.dumps(answer.get_json()["response"])


def summary_of(index, path):
    return next(summary for summary in index.summaries() if summary.entry.path == path)


@pytest.mark.parametrize("how", BREAKS)
def test_a_run_that_cannot_be_read_hides_no_other(runs, how, capfd):
    BREAKS[how](runs / "bad")
    client, index = create_app(runs).server.test_client(), RunIndex(runs)
    bad = summary_of(index, "bad")
    assert bad.status == UNREADABLE
    assert bad.verdict.text.startswith("Cannot be read: ")
    assert str(runs) not in bad.verdict.text
    assert summary_of(index, "good").status == "finished"
    listed = page_at(client, "/runs")
    assert "/run/good" in listed
    assert "Cannot be read: " in listed
    assert "Learning: " in page_at(client, "/")
    assert "Cannot be read: " in page_at(client, "/compare", "?runs=good&runs=bad")
    for page in RUN_PAGES:
        page_at(client, "/run/bad", f"?page={page.name}&site=&table=1")
        page_at(client, "/run/good", f"?page={page.name}")
    assert "This run cannot be shown" in page_at(client, "/run/bad")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("fact", WRONG_FACTS)
def test_a_run_of_which_a_fact_is_wrong_is_a_row_or_a_page(runs, fact, capfd):
    header = json.loads((runs / "bad" / "run.json").read_text())
    (runs / "bad" / "run.json").write_text(json.dumps({**header, fact: WRONG_FACTS[fact]}))
    assert_all_is_answered(runs, capfd)


def assert_all_is_answered(runs, capfd):
    """No page blanks: of the bad run each is drawn or says why it cannot be, and the good one is listed."""
    client = create_app(runs).server.test_client()
    assert "/run/good" in page_at(client, "/runs")
    assert "Learning: " in page_at(client, "/run/good")
    for page in RUN_PAGES:
        page_at(client, "/run/bad", f"?page={page.name}&site=&table=1")
    page_at(client, "/compare", "?runs=good&runs=bad")
    assert capfd.readouterr().err == ""


def test_of_compared_runs_that_cannot_be_read_the_page_says_why(runs):
    write_healthy(runs / "other", steps=30)
    cut(0.5)(runs / "bad")
    client = create_app(runs).server.test_client()
    page = page_at(client, "/compare", "?runs=good&runs=bad&runs=other")
    assert "Cannot be read: " in page
    assert "never lie more than 0.05 of chance apart" in page


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_store_of_which_a_part_was_overwritten_is_a_row_or_a_page(runs, at, capfd):
    store = runs / "bad" / "signals.sqlite"
    content = bytearray(store.read_bytes())
    place = len(content) * at // 100
    content[place : place + 64] = b"\xa5" * 64
    store.write_bytes(content)
    assert_all_is_answered(runs, capfd)


def test_a_run_that_breaks_while_it_is_on_the_screen_says_so_and_comes_back(runs):
    context = Context(RunIndex(runs), View())
    shown = news(context, Cursor("bad", "t"))["cursor"]
    good = news(context, Cursor("good", "t"))["cursor"]
    store = runs / "bad" / "signals.sqlite"
    kept = store.read_bytes()
    os.truncate(store, 5000)
    assert news(context, Cursor.parse(to_json_plotly(shown))) == {"redraw": True}
    page, _, picked = draw_page(context.index, {"address": "/run/bad"})
    assert "This run cannot be shown" in to_json_plotly(page)
    assert picked == "/run/bad"
    waiting = Cursor.parse(getattr(page, "data-cursor"))
    assert news(context, waiting) == {"redraw": False}  # asked each second, drawn once
    assert "changes" in news(context, Cursor.parse(to_json_plotly(good)))
    assert summary_of(context.index, "bad").status == UNREADABLE
    store.write_bytes(kept)
    assert news(context, waiting) == {"redraw": True}
    assert "Collapsed at step 20" in to_json_plotly(draw_page(context.index, {"address": "/run/bad"})[0])
    assert summary_of(context.index, "bad").status == "failed"


def test_live_updates_of_the_others_go_on(runs):
    writer = start(runs / "live")
    writer.write(window(0))
    index = RunIndex(runs)
    cursor = news(Context(index, View()), Cursor("live", "t"))["cursor"]
    (runs / "bad" / "run.json").write_text("{")
    writer.write(window(1))
    changes = dict(news(Context(index, View()), Cursor.parse(to_json_plotly(cursor)))["changes"])
    assert "loss-panel" in changes
    assert [entry.path for entry in index.entries()] == ["live", "good", "bad"]  # newest first, the unreadable last
    writer.finish("finished", {})


def test_the_newest_run_is_one_that_can_be_read(runs):
    (runs / "bad" / "run.json").write_text("{")
    assert draw_page(RunIndex(runs), {"address": "/"})[2] == "/run/good"
    shutil.rmtree(runs / "good")
    page, options, _ = draw_page(RunIndex(runs), {"address": "/"})
    assert "This run cannot be shown" in to_json_plotly(page)
    assert options == [{"value": "/run/bad", "label": "bad - cannot be read"}]


def test_links_in_circles_are_passed_over(runs):
    (runs / "loop").symlink_to(runs / "loop")
    (runs / "up").symlink_to(runs)
    (runs / "bad" / "run.json").unlink()
    paths = [entry.path for entry in RunIndex(runs).entries()]
    assert {"good", "bad"} <= set(paths)
    assert "loop" not in paths


@pytest.fixture
def as_another():
    """A folder of runs, and a user who is not root and reads it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    write_healthy(folder / "good", steps=30)
    write_collapsed(folder / "bad")
    if os.geteuid() == 0:
        for place in (folder, *folder.rglob("*")):
            os.chown(place, 65534, -1)
        RunIndex(folder).summaries()  # what is imported on the way, only root may be able to read
        os.seteuid(65534)
        yield folder
        os.seteuid(0)
    else:
        yield folder
    for place in (folder / "bad", *(folder / "bad").glob("*")):
        place.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["", "run.json", "signals.sqlite"])
def test_without_permission_a_run_is_a_row_that_says_so(as_another, name):
    (as_another / "bad" / name).chmod(0)
    index = RunIndex(as_another)
    bad = summary_of(index, "bad")
    assert bad.status == UNREADABLE
    assert "ermission denied" in bad.verdict.text or "unable to open" in bad.verdict.text
    assert summary_of(index, "good").status == "finished"
    with pytest.raises(UsageError), reading(as_another, "bad"):
        pass


def test_a_folder_of_runs_that_cannot_be_opened_says_so(as_another):
    as_another.chmod(0)
    page = to_json_plotly(draw_page(RunIndex(as_another), {"address": "/"})[0])
    as_another.chmod(0o755)
    assert "ermission denied" in page
