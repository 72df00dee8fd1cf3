import json
import math

from plotly.io.json import to_json_plotly

from edgeglass_dashboards import app
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.live import news as news_of
from edgeglass_dashboards.pages import overview
from edgeglass_dashboards.pages.frame import changes_since
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.view import View
from tests.helpers.dashboard_runs import COLLAPSED, CONSTANT, figure_in, start, window, write_healthy


def draw_page(root, place):
    return app.draw_page(RunIndex(root), place)


def news(root, cursor, search=""):
    return news_of(Context(RunIndex(root), View.parse(search)), cursor)


def poll(root, cursor):
    """One round trip, through JSON as in the browser."""
    answer = json.loads(to_json_plotly(news(root, Cursor.parse(json.dumps(cursor)))))
    return dict(answer["changes"]), answer["cursor"]


def begin(root, writer, *, steps=3):
    from edgeglass_dashboards.runs import open_run

    for step in range(steps):
        writer.write(window(step))
    with open_run(root, "x") as run:
        context = Context(RunIndex(root), View(), opened=run)
        return json.loads(to_json_plotly(changes_since(overview.PAGE, context, Cursor("x", "t"))[1].as_dict()))


def test_only_what_is_new_travels(tmp_path):
    writer = start(tmp_path / "x")
    cursor = begin(tmp_path, writer)
    changes, cursor = poll(tmp_path, cursor)
    assert changes == {}
    writer.write(window(3, loss=4.0))
    changes, cursor = poll(tmp_path, cursor)
    points, traces = changes["loss"]["extendData"]
    assert points["x"] == [[3], [3], []]
    assert points["y"][0] == [4.0]
    assert traces == [0, 1, 2]
    assert "findings" not in changes
    assert poll(tmp_path, cursor)[0] == {}
    writer.finish("finished", {})


def test_findings_arrive_and_the_end_stops_the_polling(tmp_path):
    writer = start(tmp_path / "x")
    cursor = begin(tmp_path, writer)
    writer.write(window(3), [CONSTANT])
    changes, cursor = poll(tmp_path, cursor)
    assert {"verdict", "verdict-details", "findings", "loss", "tile-loss"} <= changes.keys()
    assert "result" not in changes
    writer.write(window(4), COLLAPSED)
    writer.finish("stopped", {"train_loss": 4.85})
    changes, _ = poll(tmp_path, cursor)
    assert changes["live"] == {"disabled": True}
    assert {"findings", "result", "progress", "loss"} <= changes.keys()


def test_nan_survives_the_round_trip(tmp_path):
    writer = start(tmp_path / "x")
    cursor = begin(tmp_path, writer)
    writer.write(window(3, loss=math.nan))
    changes, cursor = poll(tmp_path, cursor)
    assert changes["loss"]["extendData"][0]["x"][2] == [3]
    assert "no longer a finite number" in json.dumps(changes["verdict"])
    assert poll(tmp_path, cursor)[0] == {}
    writer.finish("failed", {})


def test_a_long_run_is_polled_from_its_end(tmp_path):
    writer = start(tmp_path / "x")
    cursor = begin(tmp_path, writer, steps=200)
    assert len(json.dumps(cursor)) < 3000
    writer.finish("finished", {})


def test_a_run_that_is_not_whole_yet_is_drawn_once_it_is(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    page, options, shown = draw_page(tmp_path, {"address": "/run/x"})
    assert "cannot be shown" in to_json_plotly(page)
    assert (options, shown) == ([], None)
    waiting = Cursor.parse(getattr(page, "data-cursor"))
    assert news(tmp_path, waiting) == {"redraw": False}
    write_healthy(folder, steps=30)
    assert news(tmp_path, waiting) == {"redraw": True}


def test_addresses_lead_to_runs(tmp_path):
    assert "No runs yet" in to_json_plotly(draw_page(tmp_path / "none", {"address": "/"})[0])
    write_healthy(tmp_path / "old", steps=30)
    write_healthy(tmp_path / "group" / "new", steps=30)
    assert draw_page(tmp_path, {"address": "/"})[2] == "/run/group/new"
    assert draw_page(tmp_path, {"address": "/run/old"})[2] == "/run/old"
    page, options, shown = draw_page(tmp_path, {"address": "/elsewhere"})
    assert page.children[1].children == "There is no page at /elsewhere."
    assert [option["value"] for option in options] == ["/run/group/new", "/run/old"]
    assert shown is None


def test_what_is_written_while_a_figure_is_drawn_comes_with_the_next_poll(tmp_path, monkeypatch):
    writer = start(tmp_path / "x")
    cursor = begin(tmp_path, writer, steps=1)
    writer.write(window(1))
    advance = Cursor.advance

    def slow(self, run, signals):
        told = advance(self, run, signals)
        writer.write(window(2))
        return told

    with monkeypatch.context() as patch:
        patch.setattr(Cursor, "advance", slow)
        changes, cursor = poll(tmp_path, cursor)
    assert figure_in(changes["loss-panel"])["data"][0]["x"] == [0, 1]
    changes, _ = poll(tmp_path, cursor)
    assert changes["loss"]["extendData"][0]["x"][0] == [2]
    writer.finish("finished", {})
