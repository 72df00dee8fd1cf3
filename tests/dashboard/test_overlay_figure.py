"""The overlay without a browser: reduced lines, averages, marks, where runs part, the CSV."""

import math

import numpy as np
import pytest

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.downloads import written
from edgeglass_dashboards.overlaid import MOST_LINES, overlaid
from edgeglass_dashboards.overlay_view import controls
from edgeglass_dashboards.pages.signals import runs_beside
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.overlay import COLUMNS, overlay_figure
from edgeglass_diag.figures.reduced import shown, smoothed
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.partings import partings
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.activations import ACTIVATION_RMS
from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.sites import ModuleSite
from edgeglass_diag.store import RunWriter, load


def write(folder, losses, norms=lambda step, site: 1.0, sites=("a", "b"), *, extra=()):
    writer = RunWriter(folder, name=folder.name, header={})
    known = tuple(ModuleSite(path=site, order=place) for place, site in enumerate(sites))
    for step, loss in enumerate(losses):
        readings = [Reading(step, "", LOSS_TOTAL, (loss,)), *(each for each in extra if each.step == step)]
        readings += [Reading(step, site, GRADIENT_NORM, (norms(step, site),)) for site in sites]
        writer.write(Window(step, tuple(readings), sites=known if step == 0 else ()))
    writer.finish("finished", {})
    return folder


def lines(runs, search):
    return overlaid(View.parse(search), runs).lines


def test_a_long_series_keeps_each_column_with_its_ends_extremes_and_what_is_not_finite():
    generator = np.random.default_rng(0)
    steps, values = np.arange(200_000), generator.normal(size=200_000)
    values[[777, 100_001, 150_002]] = math.nan, math.inf, -math.inf
    kept = shown(steps, values, columns=500)
    assert len(kept) <= 7 * 500
    assert {0, 777, 100_001, 150_002, 199_999} <= set(kept.tolist())
    finite = np.isfinite(values)
    for column in range(0, 500, 50):
        inside = np.flatnonzero((steps * 500 // 200_000 == column) & finite)
        chosen = np.intersect1d(inside, kept)
        assert values[chosen].min() == values[inside].min()
        assert values[chosen].max() == values[inside].max()
        assert {inside[0], inside[-1]} <= set(chosen.tolist())


def test_of_a_span_all_readings_are_there_and_the_next_ones_to_both_sides():
    steps = np.arange(0, 100_000, 10)
    kept = shown(steps, np.zeros(len(steps)), columns=100, span=(500, 600))
    assert steps[kept].tolist() == list(range(490, 620, 10))


def test_few_readings_stay_as_they_are_and_none_is_none():
    assert shown(np.arange(5), np.full(5, math.nan), columns=100).tolist() == [0, 1, 2, 3, 4]
    assert shown(np.arange(0), np.zeros(0), columns=100).tolist() == []
    assert len(shown(np.arange(5000), np.full(5000, math.nan), columns=100)) == 100


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.99])
def test_the_average_is_that_of_the_plain_loop(weight):
    values = np.array([4.0, math.nan, 2.0, math.inf, -1.0, 5.0])
    mean, expected = 0.0, []
    for count, value in enumerate([4.0, 2.0, -1.0, 5.0], start=1):
        mean = weight * mean + (1 - weight) * value
        expected.append(mean / (1 - weight**count))
    found = smoothed(values, weight)
    assert found[[0, 2, 4, 5]] == pytest.approx(expected)
    assert np.isnan(found[[1, 3]]).all()


@pytest.fixture
def runs(tmp_path):
    losses = [5.0, 4.0, math.nan, 3.0, math.inf, 2.0]
    extra = [Reading(step, "loss#0", LOSS_ACCURACY, (0.1 * step,)) for step in range(6)]
    extra += [Reading(step, "", metric(name), (1.0,)) for step in range(6) for name in ("val", "x")]
    one = load(write(tmp_path / "one", losses, lambda step, site: step + len(site), extra=extra))
    other = load(write(tmp_path / "other", [5.0, 4.0, 3.0, 3.0, 2.5, -2.0], lambda *_: 7.0))
    yield {"one": one, "other": other}
    one.close()
    other.close()


def test_signals_of_one_unit_share_a_panel_and_those_without_have_one_each(runs):
    search = "?show=loss/total&show=loss/accuracy&show=metric/val&show=metric/x&show=gradient/norm"
    found = lines({"one": runs["one"]}, search)
    assert [line.name for line in found] == [
        "loss/total", "loss/accuracy · loss#0", "metric/val", "metric/x", "gradient/norm · median of 2 sites",
        "gradient/norm · highest of 2 sites", "gradient/norm · lowest of 2 sites",
    ]  # fmt: skip
    figure = overlay_figure(found, TEMPLATES["light"])
    assert [note.text for note in figure.layout.annotations] == [
        "<b>nats</b>", "<b>share</b>", "<b>metric/val, as logged</b>", "<b>metric/x, as logged</b>",
        "<b>gradient/norm, no unit</b>",
    ]  # fmt: skip
    assert {trace.xaxis for trace in figure.data} == {None}
    assert all(axis.fixedrange for axis in figure.select_yaxes())


def test_what_is_not_finite_is_a_gap_and_a_mark(runs):
    raw, _, marks = overlay_figure(lines({"one": runs["one"]}, "?show=loss/total"), TEMPLATES["dark"]).data
    assert list(raw.y) == [5.0, 4.0, None, 3.0, None, 2.0]
    assert raw.mode == "lines+markers"
    assert (list(marks.x), list(marks.customdata)) == ([2, 4], ["NaN", "+inf"])
    assert list(marks.marker.symbol) == ["x", "triangle-up"]


def test_a_log_axis_marks_what_it_cannot_show(runs):
    found = lines({"other": runs["other"]}, "?show=loss/total&log=1&smooth=50")
    raw, averaged, marks = overlay_figure(found, TEMPLATES["light"], log=True).data
    assert raw.y[-1] is None
    assert (list(marks.x), list(marks.customdata)) == ([5], ["-2"])
    assert averaged.line.width > raw.line.width
    assert raw.opacity < 1


def test_chosen_sites_replace_the_summary_and_runs_have_a_colour_each(runs):
    found = lines(runs, "?show=gradient/norm&sites=b&sites=gone&show=loss/total")
    assert [line.name for line in found] == [
        "gradient/norm · b · one", "loss/total · one", "gradient/norm · b · other", "loss/total · other",
    ]  # fmt: skip
    assert [(line.color, line.dash) for line in found] == [(0, 0), (0, 0), (1, 0), (1, 0)]
    assert found[0].whole.readings == 6


def test_too_many_lines_are_counted(tmp_path):
    names = tuple(f"s{number}" for number in range(60))
    with load(write(tmp_path / "many", [1.0, 2.0], sites=names)) as run:
        found = overlaid(View.parse("?show=gradient/norm" + "".join(f"&sites={name}" for name in names)), {"run": run})
    assert (len(found.lines), found.left_out) == (MOST_LINES, 0)
    with load(tmp_path / "many") as run:
        search = "?show=gradient/norm&show=loss/total" + "".join(f"&sites={name}" for name in names)
        assert overlaid(View.parse(search), {"run": run}).left_out == 1


def test_the_csv_has_what_is_drawn_and_nothing_that_is_a_formula(runs):
    rows = written(lines({"one": runs["one"]}, "?show=loss/total&smooth=50&span=1:4")).splitlines()
    assert rows[0] == "run,signal,site,unit,step,value,smoothed"
    assert [row.split(",")[4:6] for row in rows[1:]] == [
        ["0", "5.0"], ["1", "4.0"], ["2", "nan"], ["3", "3.0"], ["4", "inf"], ["5", "2.0"],
    ]  # fmt: skip
    assert rows[3].endswith(",")
    evil = lines({"=1+1": runs["one"], "b": runs["other"]}, "?show=loss/total")
    assert "\n'=1+1,loss/total" in written(evil)


def test_runs_part_where_they_first_differ_in_the_order_of_a_step(tmp_path):
    extra = [Reading(step, "b", ACTIVATION_RMS, (1.0 if step < 4 else 1.5,)) for step in range(8)]
    same = [Reading(step, "b", ACTIVATION_RMS, (1.0,)) for step in range(8)]
    write(tmp_path / "one", [5.0] * 8, lambda step, site: 1.0 if step < 4 else 3.0, extra=extra)
    write(tmp_path / "other", [5.0] * 5 + [math.nan] * 3, lambda step, site: 1.0 + 1e-9, extra=same)
    with load(tmp_path / "one") as one, load(tmp_path / "other") as other:
        found = partings([one, other])
    assert [(each.signal, each.site, each.differs, each.apart) for each in found.found] == [
        ("activation/rms", "b", 4, None), ("gradient/norm", "a", 4, 4), ("gradient/norm", "b", 4, 4),
        ("loss/total", "", 5, 5),
    ]  # fmt: skip
    assert (found.compared, found.equal) == (4, 0)
    assert found.found[0].values == (1.5, 1.0)


def test_a_line_is_drawn_for_the_pixels_of_a_screen(tmp_path):
    with load(write(tmp_path / "long", [math.sin(step) for step in range(9000)], sites=())) as run:
        (line,) = lines({"run": run}, "?show=loss/total")
    assert len(line.steps) < 4 * COLUMNS + 1
    assert line.whole.readings == 9000


def of_ranks(folder, count):
    """A run of several processes whose loss is the rank at each step, but for rank 3, which is NaN at the end."""
    for rank in range(count):
        losses = [5.0, float(rank), math.nan if rank == 3 else float(rank)]
        writer = RunWriter(folder / f"rank-{rank}" if rank else folder, name="run", header={"rank": rank})
        for step, loss in enumerate(losses):
            writer.write(Window(step, (Reading(step, "", LOSS_TOTAL, (loss,)),)))
        writer.finish("finished", {})
    return folder


@pytest.mark.parametrize(
    ("count", "named"),
    [
        (2, ["loss/total · rank 0", "loss/total · rank 1"]),
        (
            9,
            ["loss/total · median of 9 ranks", "loss/total · highest of 9 ranks, last rank 3",
             "loss/total · lowest of 9 ranks, last rank 0"],
        ),
    ],
)  # fmt: skip
def test_the_ranks_of_a_run_stand_beside_each_other_and_many_of_them_as_their_spread(tmp_path, count, named):
    of_ranks(tmp_path / "run", count)
    with load(tmp_path / "run") as run:
        alone = context_of(tmp_path, run, "?show=loss/total")
        with runs_beside(alone) as runs:
            assert [line.name for line in overlaid(alone.view, runs).lines] == ["loss/total"]
        context = context_of(tmp_path, run, "?show=loss/total&ranks=1")
        with runs_beside(context) as runs:
            found = overlaid(context.view, runs).lines
            text = str(controls(context, runs))
    assert [line.name for line in found] == named
    assert "By rank" in text
    assert found[0].values[1] == pytest.approx(0.0 if count == 2 else 4.0)
    assert found[1].whole.nans == (0 if count == 2 else 1)


def context_of(root, run, search):
    return Context(RunIndex(root), View.parse(search), opened=run)
