"""The page of retrieval: evaluations that were recorded, by step and by prefix width, and what is said without any."""

import json

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from plotly.io.json import to_json_plotly

import edgeglass_diag as eg
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.live import news
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.static import static_page
from edgeglass_dashboards.tiles import tile_sections
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.evaluated import evaluated_loss_figure, width_recall_figure
from edgeglass_diag.figures.of_evaluation import read_losses, read_recalls, read_width_losses
from edgeglass_diag.figures.spoken import sentence
from edgeglass_diag.figures.style import TEMPLATES
from tests.helpers.dashboard_runs import figure_in, write_healthy
from tests.helpers.evaluating import Pair, contrast, pairs

STEPS, EVERY = 12, 4
EVALUATED = ["evaluation-recall", "evaluation-loss", "width-recall", "width-loss"]


class Training:
    """A pair of sides at two widths, with an evaluation after each few steps."""

    def __init__(self, folder, evaluates=True):
        torch.manual_seed(0)
        self.model = Pair()
        optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.evaluated = []
        with eg.watch(self.model, optimizer, out=folder, every=1):
            for step in range(STEPS):
                if evaluates and step % EVERY == EVERY - 1:
                    with torch.no_grad():
                        self.evaluated.append(contrast(*self.model(*pairs(900))).item())
                contrast(*self.model(*pairs(step))).backward()
                optimizer.step()
                optimizer.zero_grad()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval")
    training = Training(folder / "evaluated")
    Training(folder / "blind", evaluates=False)
    write_healthy(folder / "logged")
    return folder, training


def drawn(folder, run, cursor=None):
    """What is new on the page, by place, and the cursor after it."""
    context = Context(RunIndex(folder), View("retrieval"))
    found = news(context, cursor or Cursor(run, "t", "retrieval"))
    return json.loads(to_json_plotly(dict(found["changes"]))), Cursor.parse(json.dumps(found["cursor"]))


def words(changes, place):
    return json.dumps(changes[place])


def test_the_frames_have_what_the_training_and_its_evaluations_gave(runs):
    folder, training = runs
    with eg.load(folder / "evaluated") as run:
        recalls, losses, by_width = read_recalls(run), read_losses(run), read_width_losses(run)
    steps = sorted(set(recalls["step"]))
    assert len(steps) == len(training.evaluated) == 3
    assert set(recalls["width"]) == {4, 16}
    assert (recalls["chance"] == 1 / 16).all()
    assert ((recalls["low"] <= recalls["value"]) & (recalls["value"] <= recalls["high"])).all()
    validation = losses[losses["phase"] == "validation"]
    assert (2 * validation["value"]).tolist() == pytest.approx(training.evaluated)  # of two widths
    assert len(losses[losses["phase"] == "training"]) == STEPS
    whole = by_width[by_width["phase"] == "validation"].groupby("step")["value"].sum()
    assert whole.tolist() == pytest.approx(training.evaluated)


def test_an_evaluation_is_drawn_with_interval_chance_and_every_width(runs):
    changes, cursor = drawn(runs[0], "evaluated")
    figures = {name: figure_in(changes[f"{name}-panel"])["data"] for name in EVALUATED}
    assert [trace.get("name") for trace in figures["evaluation-recall"] if trace.get("name")] == [
        "image to text", "text to image", "chance",
    ]  # fmt: skip
    assert sum(trace.get("fill") == "toself" for trace in figures["evaluation-recall"]) == 2
    assert [trace["name"] for trace in figures["evaluation-loss"]] == ["training", "validation", "chance"]
    assert [trace["name"] for trace in figures["width-recall"]] == ["16 dims", "4 dims", "chance"]
    assert [(trace["name"], trace["line"]["dash"]) for trace in figures["width-loss"]] == [
        ("16 dims", "dot"), ("16 dims", "solid"), ("4 dims", "dot"), ("4 dims", "solid"),
    ]  # fmt: skip
    assert "95 %" in words(changes, "answer")
    assert changes["missing"]["children"] is None
    assert not {f"{name}-panel" for name in EVALUATED} & drawn(runs[0], "evaluated", cursor)[0].keys()


def test_the_overview_has_tiles_of_recorded_evaluations_where_nothing_was_logged(runs):
    folder, training = runs
    with eg.load(folder / "evaluated") as run:
        tiles, recalls = tile_sections(run), read_recalls(run)
    loss = json.dumps(json.loads(to_json_plotly(tiles["tile-val"])))
    newest = training.evaluated[-1] / 2
    assert f'"children": "{float(f"{newest:.3g}"):.4g}"' in loss
    assert f"Steps {recalls['step'].iloc[0]} to {recalls['step'].iloc[-1]}: from" in loss
    recall = json.dumps(json.loads(to_json_plotly(tiles["tile-recall"])))
    assert " in batch" in recall
    assert "the dashed line is chance, 0.0625" in recall
    assert "page=retrieval" in recall
    with eg.load(folder / "blind") as run:
        assert (tile_sections(run)["tile-val"], tile_sections(run)["tile-recall"]) == (None, None)
    with eg.load(folder / "logged") as run:  # what the program says of all of its pairs comes first
        logged = json.dumps(json.loads(to_json_plotly(tile_sections(run)["tile-recall"])))
    assert " in batch" not in logged


def test_a_run_without_evaluation_says_what_is_missing_and_what_to_do(runs):
    changes, _ = drawn(runs[0], "blind")
    said = words(changes, "missing")
    assert "No evaluation pass was recorded" in said
    assert "torch.no_grad()" in said
    assert "watch.log(" in said
    assert [trace["line"]["dash"] for trace in figure_in(changes["width-loss-panel"])["data"]] == ["dot", "dot"]


def test_recalls_that_the_program_logged_are_drawn_without_an_evaluation(runs):
    changes, _ = drawn(runs[0], "logged")
    assert len(figure_in(changes["recall-panel"])["data"][0]["x"]) == 10
    said = words(changes, "missing")
    assert "No evaluation pass was recorded" in said
    assert "watch.log(" not in said


def test_losses_that_training_lacks_are_not_compared(runs):
    losses = pd.DataFrame({"step": [3], "phase": ["validation"], "value": [1.0]})
    figure = evaluated_loss_figure(losses, TEMPLATES["light"])
    assert [len(trace.x) for trace in figure.data] == [0, 1]


def test_colours_of_widths_differ_in_both_schemes(runs):
    rows = [(0, width, 0.5, 0.4, 0.6, 0.1) for width in (4, 8, 16)]
    recalls = pd.DataFrame(rows, columns=["step", "width", "value", "low", "high", "chance"])
    shades = {
        scheme: [trace.line.color for trace in width_recall_figure(recalls, TEMPLATES[scheme]).data[:3]]
        for scheme in TEMPLATES
    }
    assert all(len(set(found)) == 3 for found in shades.values())
    assert shades["light"] != shades["dark"]


def test_the_page_that_is_sent_around_has_the_figures_and_their_sentences(runs):
    page = static_page(runs[0] / "evaluated")
    assert "<figcaption" in page
    assert "Lines of R@1 within the batch by optimizer step: image to text" in page


def test_a_sentence_tells_kind_axes_and_course():
    lines = go.Figure(go.Scatter(x=[0, 1, 2], y=[4.0, 9.0, None], name="loss", mode="lines"))
    lines.update_layout(xaxis_title_text="optimizer step", yaxis_title_text="nats")
    assert sentence(lines) == "Lines of nats by optimizer step: loss from 4 to 9."
    assert sentence(go.Figure(go.Heatmap(z=[[1, 2, 3], [4, 5, 6]]))) == "Heatmap: 2 rows, 3 columns."
    assert sentence(go.Figure(go.Scatter(x=[1, 2], y=[1, 2], name="hubs", mode="markers"))) == "Points: hubs 2 points."
    assert sentence(go.Figure(go.Bar(x=["a"], y=[0.25], name="recall"))) == "Bars: recall 0.25."
    many = go.Figure([go.Scatter(x=[0, 1], y=[0, line], name=f"head {line}", mode="lines") for line in range(9)])
    assert sentence(many).endswith("; and 3 more.")
