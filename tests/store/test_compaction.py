"""Compaction moves readings and changes none: against the plain list they came from, on drawn histories."""

import math
from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.records import Reading, UsageError, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.sites import AttentionSite
from edgeglass_diag.store import RunWriter, compaction, load
from tests.helpers.histories import expected, histories, same

X = metric("x")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("histories")
    return (root / str(number) for number in range(10**6))


def written(folder, windows, *, every):
    """A run of these windows of which ``every`` many make a stretch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "WINDOWS", every)
        writer = RunWriter(folder, name="r", header={})
        for window in windows:
            writer.write(window)
        writer.finish("finished", {})
    return load(folder)


def count(run, table):
    return run._db.rows(f"SELECT COUNT(*) FROM {table}")[0][0]


@given(windows=histories(), every=st.sampled_from([2, 3, 5, 10**6]), after=st.integers(0, 16))
@settings(max_examples=60, deadline=None)
def test_readings_come_back_exactly_whatever_was_compacted(folders, windows, every, after):
    signals = sorted({r.signal for window in windows for r in window.readings})
    with written(next(folders), windows, every=every) as run:
        assert run.signals == signals
        for signal in signals:
            assert same(run.readings(signal), expected(windows, signal))
            assert same(run.readings(signal, after=after), expected(windows, signal, after=after))
            for site in ("", "ü/ñ 漢字"):
                assert same(run.readings(signal, site=site), expected(windows, signal, site=site))
            rows = [(r.step, r.site, i, v) for _, r in expected(windows, signal) for i, v in enumerate(r.values)]
            frame = run.frame(signal)
            assert repr(list(frame.itertuples(index=False, name=None))) == repr(rows)


@given(
    windows=histories(), every=st.sampled_from([2, 3, 10**6]), bins=st.sampled_from([1, 2, 3, 600]),
    component=st.sampled_from(["mean", "min", "max", 0, 1]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_matrix_has_the_extremes_and_the_nan_of_each_cell(folders, windows, every, bins, component):
    with written(next(folders), windows, every=every) as run:
        for signal in run.signals:
            found = expected(windows, signal)
            matrix = run.matrix(signal, bins=bins, component=component)
            steps = sorted({reading.step for _, reading in found})
            columns = {step: rank * len(matrix.edges) // len(steps) for rank, step in enumerate(steps)}
            assert len(matrix.edges) == min(bins, len(steps))
            assert matrix.edges == [next(group)[0] for _, group in groupby(columns.items(), key=lambda item: item[1])]
            assert matrix.last_row == max(seq for seq, _ in found)
            cells = {}
            for _, reading in found:
                drawn = drawn_of(reading.values, component)
                if drawn is not None:
                    cells.setdefault((reading.site, columns[reading.step]), []).append(drawn)
            assert matrix.count.sum() == sum(map(len, cells.values()))
            for row, site in enumerate(matrix.sites):
                for column in range(len(matrix.edges)):
                    check_cell(matrix, row, column, cells.get((site, column), []))


def drawn_of(values, component):
    """The number that is drawn of a step and how many NaN are behind it; None where there is none to draw."""
    heads = np.array(values, np.float64)
    if isinstance(component, int):
        heads = heads[component : component + 1]
    if not len(heads):
        return None
    numbers = heads[~np.isnan(heads)]
    how = {"min": np.min, "max": np.max}.get(component, np.mean)
    with np.errstate(all="ignore"):
        value = np.float32(how(numbers)) if len(numbers) else np.float32(np.nan)
    return value, max(len(heads) - len(numbers), int(np.isnan(value)))


def check_cell(matrix, row, column, drawn):
    numbers = [value for value, _ in drawn if not math.isnan(value)]
    assert matrix.count[row, column] == len(drawn)
    assert matrix.nans[row, column] == sum(nans for _, nans in drawn)
    for found, of in ((matrix.low, min), (matrix.high, max)):
        wanted = of(numbers) if numbers else np.float32(np.nan)
        np.testing.assert_allclose(found[row, column], wanted, rtol=1e-6)


@given(windows=histories(), every=st.sampled_from([2, 10**6]), bins=st.sampled_from([1, 3, 600]))
@settings(max_examples=40, deadline=None)
def test_heads_have_the_extremes_of_each_component(folders, windows, every, bins):
    with written(next(folders), windows, every=every) as run:
        for signal in run.signals:
            for site in {reading.site for _, reading in expected(windows, signal)}:
                found = [reading for _, reading in expected(windows, signal, site=site)]
                steps = sorted({reading.step for reading in found})
                width = min(bins, len(steps))
                columns = {step: rank * width // len(steps) for rank, step in enumerate(steps)}
                cells = {}
                for reading in found:
                    for head, value in enumerate(reading.values):
                        with np.errstate(over="ignore"):
                            cells.setdefault((columns[reading.step], head), []).append(np.float32(value))
                first = {column: step for step, column in reversed(columns.items())}
                wanted = [
                    (first[column], head, least(values, min), least(values, max), int(np.isnan(values).sum()))
                    for (column, head), values in sorted(cells.items())
                ]
                got = run.heads(signal, site, bins=bins)
                assert list(got.columns) == ["step", "component", "low", "high", "nans"]
                np.testing.assert_array_equal(got.to_numpy(np.float64), np.array(wanted, np.float64).reshape(-1, 5))


def least(values, of):
    numbers = [value for value in values if not math.isnan(value)]
    return of(numbers) if numbers else math.nan


@given(
    at=st.integers(0, 99), site=st.integers(0, 2), head=st.integers(0, 3),
    spike=st.sampled_from([7.0, -7.0, math.inf, math.nan]), bins=st.integers(1, 120),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_a_single_spike_is_seen_at_every_resolution(folders, at, site, head, spike, bins):
    windows = []
    for step in range(100):
        heads = [[0.5] * 4 for _ in range(3)]
        if step == at:
            heads[site][head] = spike
        windows.append(Window(10 * step, tuple(Reading(10 * step, f"s{i}", X, tuple(h)) for i, h in enumerate(heads))))
    with written(next(folders), windows, every=30) as run:
        for component in ("min" if spike < 0 else "max", head):
            matrix = run.matrix(X, bins=bins, component=component)
            cells = matrix.nans > 0 if math.isnan(spike) else (matrix.high == spike) | (matrix.low == spike)
            rows, columns = np.nonzero(cells)
            assert [(r, c) for r, c in zip(rows, columns, strict=True)] == [(site, columns[0])]
            after = [*matrix.edges, 1000][columns[0] + 1]
            assert matrix.edges[columns[0]] <= 10 * at < after
        frame = run.heads(X, f"s{site}", bins=bins)
        hit = frame[(frame.nans > 0) if math.isnan(spike) else (frame.low == spike) | (frame.high == spike)]
        assert hit.component.tolist() == [head]


def test_scalars_keep_double_precision_and_vectors_single(tmp_path):
    third = 1 / 3
    windows = [Window(s, (Reading(s, "", X, (third,)), Reading(s, "a", X, (third, 1e39)))) for s in range(6)]
    with written(tmp_path / "run", windows, every=3) as run:
        (_, scalar), (_, vector) = run.readings(X, after=5)
        assert scalar.values == (third,)
        assert vector.values == (float(np.float32(third)), math.inf)


def test_a_long_run_is_stretches_and_few_slices_and_no_window_pays_for_all_signals(tmp_path):
    signals = [metric(str(i)) for i in range(40)]
    writer = RunWriter(tmp_path / "run", name="r", header={})
    made = []
    with load(tmp_path / "run") as run:
        for step in range(620):
            writer.write(Window(step, tuple(Reading(step, "a", signal, (0.0, 1.0)) for signal in signals)))
            made.append(count(run, "stretches"))
        assert max(b - a for a, b in pairwise(made)) == 1
        assert count(run, "stretches") == 80
        assert count(run, "slices") == 620 * 40 - sum(
            len(seqs) // 8 for (seqs,) in run._db.rows("SELECT seqs FROM stretches")
        )
    writer.finish("finished", {})


def test_wide_signals_make_shorter_stretches(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "VALUES", 1000)
    writer = RunWriter(tmp_path / "run", name="r", header={})
    for step in range(40):
        writer.write(Window(step, tuple(Reading(step, f"w{i}", X, (1.0,)) for i in range(50))))
    with load(tmp_path / "run") as run:
        lengths = [len(seqs) // 8 for (seqs,) in run._db.rows("SELECT seqs FROM stretches")]
    assert lengths == [20, 20]
    writer.finish("finished", {})


def test_rows_of_a_matrix_are_in_order_of_execution_or_as_asked_for(tmp_path):
    sites = (AttentionSite(path="b", order=0), AttentionSite(path="a", order=1))
    readings = tuple(Reading(0, site, X, (value,)) for site, value in (("a", 1.0), ("z", 3.0), ("b", 2.0)))
    writer = RunWriter(tmp_path / "run", name="r", header={})
    writer.write(Window(0, readings, sites))
    writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        assert run.matrix(X).sites == ["b", "a", "z"]
        matrix = run.matrix(X, sites=["z", "none", "a"])
        assert matrix.count[:, 0].tolist() == [1, 0, 1]
        assert matrix.high[[0, 2], 0].tolist() == [3.0, 1.0]
        assert Counter(matrix.sites) == Counter(["z", "none", "a"])
        assert run.heads(X, "none").empty
        later = run.matrix(X, after=1)
        assert (later.edges, later.last_row, later.last_step, later.low.shape) == ([], 1, -1, (0, 0))
        for call, message in (
            (lambda: run.matrix("loss/total"), "has not recorded 'loss/total'; it has: metric/x"),
            (lambda: run.heads("loss/totl", "a"), "no signal 'loss/totl'; did you mean 'loss/total'"),
            (lambda: run.matrix(X, bins=0), "bins: expected at least 1, got 0"),
            (lambda: run.heads(X, "a", bins=-1), "bins: expected at least 1, got -1"),
            (lambda: run.matrix(X, component="median"), "component: expected mean, min, max or a number from 0"),
            (lambda: run.matrix(X, component=-1), "component: expected mean, min, max or a number from 0, got -1"),
        ):
            with pytest.raises(UsageError, match=message):
                call()


def test_a_signal_of_few_sites_is_kept_whole(tmp_path):
    with written(tmp_path / "run", [Window(n, (Reading(n, "", X, (1.0,)),)) for n in range(200)], every=16) as run:
        assert len(run.series(X, "").steps) == 200
