import math

import numpy as np
import pandas as pd
import pytest

from edgeglass_diag.figures.clipping import clipping_figure
from edgeglass_diag.figures.lines import loss_figure, loss_points, recall_figure, recall_points, thin
from edgeglass_diag.figures.ranks import sides_figure
from edgeglass_diag.figures.style import TEMPLATES


def frame(steps, values):
    return pd.DataFrame({"step": steps, "value": np.asarray(values, float)})


LOSS = frame([0, 10, 20, 30], [4.8, math.nan, 2.0, math.inf])
CHANCE = frame([0, 10, 20, 30], [4.85] * 4)


def test_loss_figure_draws_chance_dashed_and_labelled():
    figure = loss_figure(LOSS, CHANCE, TEMPLATES["light"])
    assert [trace.name for trace in figure.data] == ["loss", "chance", "not finite"]
    assert figure.data[1].line.dash == "dash"
    assert [(label.text, label.y) for label in figure.layout.annotations] == [("chance", 4.85)]
    assert figure.layout.uirevision == "kept"


def test_a_level_that_stays_is_its_ends_in_a_long_run():
    loss, levels = frame(range(900), [2.0] * 900), [4.0] * 300 + [3.0] * 600
    figure = loss_figure(loss, frame(range(900), levels), TEMPLATES["light"])
    assert tuple(figure.data[1].x) == (0, 299, 300, 899)
    assert tuple(figure.data[1].y) == (4.0, 4.0, 3.0, 3.0)


def test_values_that_are_not_finite_leave_a_gap_and_a_cross():
    figure = loss_figure(LOSS, CHANCE, TEMPLATES["dark"])
    assert tuple(figure.data[0].y) == (4.8, None, 2.0, None)
    assert tuple(figure.data[2].x) == (10, 30)


def test_points_have_the_traces_of_the_figure():
    figure, points = loss_figure(LOSS, CHANCE, TEMPLATES["light"]), loss_points(LOSS, CHANCE)
    assert [list(trace.x) for trace in figure.data] == points["x"]
    recalls = (frame([0, 50], [0.0, 0.5]), frame([0, 50], [0.01, 0.4]), frame([0, 50], [100, 100]))
    figure, points = recall_figure(*recalls, TEMPLATES["light"]), recall_points(*recalls)
    assert [list(trace.y) for trace in figure.data] == points["y"]


def test_recall_is_logarithmic_with_chance_one_of_n_and_zero_at_half_of_it():
    figure = recall_figure(
        frame([0, 50], [0.0, 0.5]), frame([0, 50], [0.01, 0.4]), frame([0, 50], [100, 100]), TEMPLATES["light"]
    )
    assert [trace.name for trace in figure.data] == ["image to text", "chance", "text to image"]
    assert tuple(figure.data[0].y) == (0.005, 0.5)
    assert tuple(figure.data[0].customdata) == (0.0, 0.5)
    assert tuple(figure.data[1].y) == (0.01, 0.01)
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.annotations[0].y == pytest.approx(-2)


def test_figures_without_readings_are_drawn():
    none = frame([], [])
    assert len(loss_figure(none, none, TEMPLATES["light"]).data) == 3
    assert len(recall_figure(none, none, none, TEMPLATES["light"]).data) == 3


def test_a_single_chance_reading_is_still_seen():
    figure = loss_figure(LOSS.head(1), CHANCE.head(1), TEMPLATES["light"])
    assert figure.data[1].mode == "markers"


@pytest.mark.parametrize(("last", "apart"), [(0, 1), (1, 1), (7, 1), (8, None), (500, None)])
def test_steps_are_labelled_at_whole_numbers_where_there_are_few(last, apart):
    steps = frame([0, last], [4.8, 2.0])
    recalls = frame([0, last], [0.1, 0.2])
    figures = [
        loss_figure(steps, steps, TEMPLATES["light"]),
        recall_figure(recalls, recalls, frame([0, last], [64, 64]), TEMPLATES["light"]),
        sides_figure({"image": steps}, "effective rank", TEMPLATES["light"]),
        clipping_figure(steps, steps, TEMPLATES["light"]),
    ]
    assert [figure.layout.xaxis.dtick for figure in figures] == [apart] * 4


def test_thinning_keeps_ends_peaks_and_nan():
    values = np.zeros(100_000)
    values[[40_000, 70_000, 90_000]] = [9.0, -9.0, math.nan]
    thinned = thin(frame(np.arange(100_000), values), limit=1000)
    assert len(thinned) <= 1002
    assert {0, 40_000, 70_000, 90_000, 99_999} <= set(thinned["step"])
    assert thinned["step"].is_monotonic_increasing
    assert thin(LOSS) is LOSS
