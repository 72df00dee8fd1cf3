"""A writer in a process of its own that is killed while it compacts, and readers that look on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from edgeglass_diag.store import load
from tests.helpers.waiting import until

SIGNALS = ("metric/heads", "metric/scalar", "metric/many")
WRITER = """
import sys, time
from pathlib import Path
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.store import RunWriter, compaction

compaction.WINDOWS = 3  # nearly every window compacts a signal
writer = RunWriter(Path(sys.argv[1]), name="r", header={})
for step in range(10**9):
    heads = tuple(Reading(step, f"layer.{i}", metric("heads"), (step, step + 0.5, float("nan"))) for i in range(20))
    many = tuple(Reading(step, f"p{i}", metric("many"), (step * 1e3 + i,)) for i in range(30))
    writer.write(Window(step, (*heads, *many, Reading(step, "", metric("scalar"), (step / 7,)))))
    time.sleep(0.01)
"""


@pytest.fixture
def start(tmp_path):
    started = []

    def start_(folder):
        started.append(subprocess.Popen([sys.executable, "-c", WRITER, str(folder)]))
        until((folder / "run.json").is_file, "the run has a header", between=0.01)
        with load(folder) as run:
            until(lambda: run.readings("metric/scalar"), "the run has a window", between=0.01)
        return started[-1]

    yield start_
    for process in started:
        process.kill()
        process.wait()


def expected(signal_, step):
    if signal_ == "metric/scalar":
        return {"": (step / 7,)}
    if signal_ == "metric/many":
        return {f"p{i}": (step * 1e3 + i,) for i in range(30)}
    return {f"layer.{i}": (step, step + 0.5, "nan") for i in range(20)}


def check(signal_, found):
    """Each step from 0 on exactly once at each site, with its values."""
    sites = len(expected(signal_, 0))
    assert [reading.step for _, reading in found] == [i // sites for i in range(len(found))]
    assert len(found) % sites == 0
    for begin in range(0, len(found), sites):
        window = {r.site: tuple("nan" if v != v else v for v in r.values) for _, r in found[begin : begin + sites]}
        assert window == expected(signal_, begin // sites)


LONG = pytest.mark.long


@pytest.mark.parametrize("polls", [1, 20, *(pytest.param(polls, marks=LONG) for polls in (7, 33, 50))])
def test_readers_miss_nothing_and_a_killed_writer_loses_nothing_that_was_seen(tmp_path, start, polls):
    process = start(tmp_path / "run")
    seen = {name: [] for name in SIGNALS}
    rows = dict.fromkeys(SIGNALS, 0)
    with load(tmp_path / "run") as run:
        for _ in range(polls):
            time.sleep(0.005)
            for name in SIGNALS:
                fresh = run.readings(name, after=rows[name])
                seen[name] += fresh
                rows[name] = max([rows[name], *(row for row, _ in fresh)])
            if run.signals:
                matrix = run.matrix("metric/heads", bins=10)
                assert (matrix.count.sum(axis=1) == matrix.last_row).all()  # one window each row, none twice
                assert (matrix.nans == matrix.count).all()
                assert run.heads("metric/heads", "layer.3", bins=1).high.tolist()[0] >= matrix.last_step
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with load(tmp_path / "run") as run:
        assert run.status == "failed"
        last = run.last_step
        for name in SIGNALS:
            check(name, seen[name])
            whole = run.readings(name)
            check(name, whole)
            assert whole[-1][1].step == last
            assert [row for row, _ in whole[: len(seen[name])]] == [row for row, _ in seen[name]]
            assert last + 1 >= rows[name]
        assert run._db.rows("PRAGMA integrity_check") == [("ok",)]
        if last > 10:
            assert run._db.rows("SELECT COUNT(*) FROM stretches")[0][0] > 0
