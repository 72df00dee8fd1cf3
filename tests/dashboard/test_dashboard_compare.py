"""Compared runs that have ended are read once, and their page asks for nothing more."""

import pytest

from edgeglass_dashboards import overlaid
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.pages import compare
from edgeglass_dashboards.pages.frame import changes_since
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.view import View
from tests.helpers.dashboard_runs import start, window, write_healthy
from tests.helpers.waiting import until

BOTH = View(runs=("one", "other"))


@pytest.fixture
def index(tmp_path):
    for name, steps in (("one", 60), ("other", 90)):
        write_healthy(tmp_path / name, steps=steps)
    return RunIndex(tmp_path)


def poll(index, view=BOTH, cursor=None):
    changes, after = changes_since(compare.PAGE, Context(index, view), cursor or Cursor("/compare", "t", "compare"))
    return dict(changes), after


def is_still(index, view=BOTH):
    return poll(index, view)[0].get("live") == {"disabled": True}


def counted(monkeypatch, module, name):
    calls, real = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: calls.append(given) or real(*given))
    return calls


def test_the_page_of_runs_that_have_ended_becomes_still(index):
    until(lambda: is_still(index), "what parts is known")
    changes, _ = poll(index)
    assert "being compared" not in str(changes["partings"])


def test_a_run_that_goes_on_is_followed_and_its_end_is_shown(index, tmp_path):
    writer = start(tmp_path / "live", name="live")
    writer.write(window(0))
    view = View(runs=("one", "live"))
    changes, cursor = poll(index, view)
    assert changes["live"] == {"disabled": False}
    assert "running" in str(changes["sides"])
    for step in range(1, 40):
        writer.write(window(step))
    writer.finish("finished", {"val_loss": 0.5})
    changes, cursor = poll(index, view, cursor)
    assert "0.5" in str(changes["sides"])
    assert "extendData" in changes["overlay"]
    until(lambda: is_still(index, view), "what parts is known")


def test_a_choice_that_changes_by_itself_is_followed(index, tmp_path):
    assert not any(poll(index, View())[0]["live"].values())
    assert not any(poll(index, View(runs=("one", "to-come")))[0]["live"].values())


def test_what_was_read_is_kept_for_the_next_answer(index, monkeypatch):
    poll(index)
    tables, lines = counted(monkeypatch, compare, "compare_runs"), counted(monkeypatch, overlaid, "_read_all")
    poll(index)
    poll(index, View(runs=("one", "other"), smooth=50))
    assert (len(tables), len(lines)) == (0, 1)


@pytest.mark.parametrize("name", ["train_loss", "val_loss"])
def test_a_loss_of_0_is_a_number(index, tmp_path, name):
    start(tmp_path / "zero").finish("finished", {name: 0.0})
    changes, _ = poll(index, View(runs=("one", "zero")))
    rows = changes["sides"]["children"].children.children[1].children
    title = "training loss" if name == "train_loss" else "validation loss"
    assert [row.children[-1].children for row in rows if row.children[0].children == title] == ["0"]
