"""Stores that grow beyond their room: which windows are left out, which stay, and what is said of it."""

import math
from itertools import pairwise

import numpy as np
import pytest

from edgeglass_diag.records import Reading, Window
from edgeglass_diag.render.findings import thinned_text
from edgeglass_diag.signals import metric
from edgeglass_diag.store import RunWriter, compaction, load, thinner

X = metric("x")


def long_run(folder, *, windows, sites, spoiled=(), ranks=1, room=0):
    """A run whose wide signal is thinned: 16 windows make a stretch, and five stretches are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "WINDOWS", 16)
        patch.setattr(thinner, "BYTES", 1)
        patch.setattr(thinner, "RUN", room)
        writer = RunWriter(folder, name="r", header={"world_size": ranks})
        for first in range(0, windows, 16):
            made = []
            for step in range(first, min(first + 16, windows)):
                value = math.nan if step in spoiled else float(step)
                readings = tuple(Reading(step, f"layer.{site}", X, (value + site,)) for site in range(sites))
                made.append(Window(step, readings))
            writer.write(made[-1], earlier=made[:-1])
        writer.finish("finished", {})
    return load(folder)


def test_a_long_run_keeps_its_beginning_its_end_and_some_between(tmp_path):
    with long_run(tmp_path / "run", windows=2000, sites=3) as run:
        steps = run.series(X, "layer.1").steps.tolist()
        assert steps[:16] == list(range(16))
        assert steps[-32:] == list(range(1968, 2000))
        assert 4 * 16 <= len(steps) < 7 * 16
        assert max(later - earlier for earlier, later in pairwise(steps[16:-32])) <= 3 * 2000 / 16
        for site in range(3):
            series = run.series(X, f"layer.{site}")
            assert (series.values == series.steps + site).all()
        matrix = run.matrix(X, bins=10**4)
        assert (matrix.low == matrix.high).sum() == 3 * len(steps)
        assert run.windows == 2000


@pytest.mark.parametrize("spoiled", [range(2000), range(1, 1999), [*range(0, 2000, 2)]], ids=["all", "most", "half"])
def test_a_run_with_nan_nearly_everywhere_is_thinned_too(tmp_path, spoiled):
    with long_run(tmp_path / "run", windows=2000, sites=3, spoiled=frozenset(spoiled)) as run:
        steps = run.series(X, "layer.1").steps.tolist()
        assert steps[:16] == list(range(16))
        assert steps[-32:] == list(range(1968, 2000))
        assert 4 * 16 <= len(steps) < 7 * 16


def test_a_long_run_says_what_is_left_out_and_what_is_whole(tmp_path):
    with long_run(tmp_path / "run", windows=2000, sites=3) as run:
        steps = set(run.series(X, "layer.1").steps.tolist())
        [said] = run.thinned
        assert (said.signal, said.kept, said.recorded) == (X, len(steps), 2000)
        assert steps.issuperset(range(said.whole_until + 1))
        assert steps.issuperset(range(said.whole_since, 2000))
        assert said.whole_until == 15
        assert 2000 - said.whole_since >= 2 * 16
        assert f"of {X} {len(steps)} of 2000 are kept" in thinned_text(run.thinned)


def test_a_run_that_fits_is_whole(tmp_path):
    with long_run(tmp_path / "run", windows=200, sites=3, room=2**30) as run:
        assert (run.thinned, thinned_text(run.thinned)) == ([], "")


def test_many_signals_share_the_room(tmp_path):
    """Of six wide signals each has the windows that fit, and the one of a single site has all."""
    signals, room = [metric(f"wide/{number}") for number in range(6)], 3 * 2**19
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thinner, "RUN", room)
        writer = RunWriter(tmp_path / "run", name="r", header={"world_size": 1})
        for step in range(400):
            readings = [Reading(step, f"{site}", signal, (1.0,)) for signal in signals for site in range(100)]
            writer.write(Window(step, (*readings, Reading(step, "", X, (float(step),)))))
        writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        assert (run.folder / "signals.sqlite").stat().st_size < 1.4 * room
        assert {one.signal for one in run.thinned} == set(signals)
        assert all(one.recorded == 400 and one.whole_until >= 16 for one in run.thinned)
        assert len(run.series(X, "").steps) == 400


def test_the_store_of_a_long_run_does_not_grow(tmp_path):
    sizes = []
    for windows in (1000, 4000):
        with long_run(tmp_path / str(windows), windows=windows, sites=40) as run:
            sizes.append((run.folder / "signals.sqlite").stat().st_size - 60 * windows)
    assert sizes[1] < 1.3 * sizes[0]


def test_a_store_of_many_ranks_is_thinned_earlier_than_that_of_one(tmp_path):
    kept = []
    for ranks in (1, 8):
        with long_run(tmp_path / f"{ranks}", windows=2000, sites=20, ranks=ranks, room=2**20) as run:
            kept.append(len(run.series(X, "layer.1").steps))
    assert kept[0] == 2000
    assert kept[1] < 1000


def test_what_was_not_a_number_is_thinned_out_last(tmp_path):
    with long_run(tmp_path / "run", windows=400, sites=2, spoiled={101}) as run:
        series = run.series(X, "layer.0")
        assert series.steps[np.isnan(series.values)].tolist() == [101]
        assert run.matrix(X, bins=1).nans.tolist() == [[1], [1]]
