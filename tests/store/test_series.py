"""All readings of a signal at one site, from slices and from stretches, with what is not finite."""

import math

import numpy as np
import pytest

from edgeglass_diag.records import Reading, UsageError, Window
from edgeglass_diag.signals.attention import ATTENTION_LOGIT_MAX
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.store import RunWriter, load


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "run"
    writer = RunWriter(folder, name="run", header={})
    for step in range(700):
        loss = {3: math.nan, 5: math.inf, 690: -math.inf}.get(step, float(step))
        heads = (step, math.nan if step == 4 else 2.0 * step)
        readings = [Reading(step, "", LOSS_TOTAL, (loss,)), Reading(step, "a", ATTENTION_LOGIT_MAX, heads)]
        readings += [Reading(step, site, GRADIENT_NORM, (len(site),)) for site in ("b", "aa")[: 1 + step % 2]]
        writer.write(Window(step, tuple(readings)))
    writer.finish("finished", {})
    with load(folder) as opened:
        yield opened


def test_each_reading_is_there_also_what_is_not_finite(run):
    series = run.series(LOSS_TOTAL, "")
    assert series.steps.tolist() == list(range(700))
    assert np.isnan(series.values[3])
    assert series.values[[5, 690, 100, 699]].tolist() == [math.inf, -math.inf, 100.0, 699.0]


@pytest.mark.parametrize(("component", "value"), [("mean", 15.0), ("min", 10.0), ("max", 20.0), (1, 20.0)])
def test_one_number_is_taken_of_the_heads_and_a_nan_among_them_stays(run, component, value):
    series = run.series(ATTENTION_LOGIT_MAX, "a", component=component)
    assert series.values[10] == value
    assert np.isnan(series.values[4])


def test_a_site_has_the_steps_at_which_it_was_measured(run):
    assert run.series(GRADIENT_NORM, "aa").steps[:3].tolist() == [1, 3, 5]
    assert len(run.series(GRADIENT_NORM, "nowhere").steps) == 0
    assert len(run.series(ATTENTION_LOGIT_MAX, "a", component=7).steps) == 0
    assert run.sites_of(GRADIENT_NORM) == ["b", "aa"]


def test_what_was_not_recorded_is_one_error(run):
    with pytest.raises(UsageError, match="has not recorded"):
        run.series("loss/accuracy", "")
    with pytest.raises(UsageError, match="component: expected"):
        run.series(LOSS_TOTAL, "", component="median")
