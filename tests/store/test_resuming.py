"""A run that goes on in the folder of an earlier process: one record, one writer, nothing lost."""

import os
import signal
from pathlib import Path

import pytest

from edgeglass_diag.records import Finding, Reading, Severity, UsageError, Window
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.store import RunWriter, load, next_step
from edgeglass_diag.store.state import NAME
from edgeglass_diag.thinning import BETWEEN, FIRST, NEWEST, kept_indices


def window(step):
    return Window(step, (Reading(step, "", LOSS_TOTAL, (float(step),)),))


def finding(code, step):
    return Finding(code, "name", Severity.WARNING, "", step, "says")


def begun(folder, steps=range(0, 50, 10)):
    writer = RunWriter(folder, name="run", header={"command": ["python", "train.py"], "rules": []})
    for step in steps:
        writer.write(window(step), [finding("EG001", 0)])
    return writer


def goes_on(folder, header=None):
    return RunWriter(folder, name="other", header=header or {}, resume=next_step(folder))


def steps_of(folder):
    with load(folder) as run:
        return run.series(LOSS_TOTAL, "").steps.tolist()


def test_both_parts_are_read_as_one_run_with_the_cut(tmp_path):
    begun(tmp_path / "run").finish("failed", {"error": "x"})
    writer = goes_on(tmp_path / "run", {"command": ["python", "train.py", "--resume"]})
    with load(tmp_path / "run") as run:
        assert run.status == "running"
        assert run.result == {}
    writer.write(window(41), [finding("EG002", 41)])
    writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        assert [(cut.step, cut.ended, cut.command) for cut in run.cuts] == [
            (41, False, ("python", "train.py", "--resume"))
        ]
        assert run.header["command"] == ["python", "train.py"]
        assert run.name == "run"
        assert run.series(LOSS_TOTAL, "").values.tolist() == [0, 10, 20, 30, 40, 41]
        assert [kept.code for kept in run.kept_findings] == ["EG001", "EG002"]
        assert run.windows == run.record.recorded == 6


def test_without_resume_nothing_is_appended(tmp_path):
    begun(tmp_path / "run").finish("finished", {})
    with pytest.raises(UsageError, match="not empty"):
        RunWriter(tmp_path / "run", name="run", header={})


def test_where_there_is_no_run_a_new_one_begins(tmp_path):
    goes_on(tmp_path / "run").finish("finished", {})
    with load(tmp_path / "run") as run:
        assert run.cuts == ()
        assert run.name == "other"


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no run that could go on"):
        goes_on(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_that_was_changed_is_refused(tmp_path):
    begun(tmp_path / "run").finish("finished", {})
    with (tmp_path / "run" / "signals.sqlite").open("ab") as store:
        store.write(b"more")
    with pytest.raises(UsageError, match="checksum differs"):
        goes_on(tmp_path / "run")
    with pytest.raises(UsageError, match="checksum differs"):  # and its lock was given back
        goes_on(tmp_path / "run")


def test_a_run_has_one_writer(tmp_path):
    writer = begun(tmp_path / "run")
    with pytest.raises(UsageError, match="another process writes"):
        goes_on(tmp_path / "run")
    writer.write(window(50))
    writer.finish("finished", {})
    goes_on(tmp_path / "run").finish("finished", {})


def try_to_go_on(folder):
    """Exit with 3 where the run has a writer already."""
    try:
        goes_on(Path(folder))
    except UsageError:
        os._exit(3)


def test_a_run_has_one_writer_among_processes(tmp_path, command_server):
    writer = begun(tmp_path / "run")
    assert command_server.call(try_to_go_on, str(tmp_path / "run")).returncode == 3
    writer.finish("finished", {})
    assert command_server.call(try_to_go_on, str(tmp_path / "run")).returncode == 0


def test_a_copy_of_the_process_does_not_keep_the_lock(tmp_path):
    """A loader that outlives the killed training must not keep the run from going on."""
    writer = begun(tmp_path / "run")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        writer.finish("failed", {})
        goes_on(tmp_path / "run").finish("finished", {})
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)


def be_killed_half_way(folder):
    """Be killed in the middle of a transaction that has reached the disk, and of a new state."""
    writer = begun(Path(folder))
    (Path(folder) / NAME).write_bytes(b'{"crc32":1,"state":{"sta')
    db = writer._db
    db.execute("PRAGMA cache_spill=ON")
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO names VALUES (?, ?, 0)", ((n, f"{n}" * 500) for n in range(100, 2000)))
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_has_left_half_written_is_put_right(tmp_path, command_server):
    assert command_server.call(be_killed_half_way, str(tmp_path / "run")).returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "signals.sqlite-journal").stat().st_size
    writer = goes_on(tmp_path / "run")
    writer.write(window(41))
    writer.finish("finished", {})
    assert steps_of(tmp_path / "run") == [0, 10, 20, 30, 40, 41]


def test_steps_go_on_behind_those_of_all_ranks(tmp_path):
    begun(tmp_path / "run").finish("failed", {})
    begun(tmp_path / "run" / "rank-1", range(0, 70, 10)).finish("failed", {})
    assert next_step(tmp_path / "run") == 61


def test_a_start_that_recorded_nothing_leaves_one_cut(tmp_path):
    begun(tmp_path / "run").finish("failed", {})
    for _ in range(3):
        writer = goes_on(tmp_path / "run")
        writer.finish("failed", {})
    with load(tmp_path / "run") as run:
        assert [cut.step for cut in run.cuts] == [41]


def test_of_a_long_run_the_beginning_the_end_and_some_between_are_taken_over(tmp_path):
    steps = range(0, 10 * (FIRST + NEWEST + 40 * BETWEEN), 10)
    writer = RunWriter(tmp_path / "run", name="run", header={})
    *earlier, last = map(window, steps)
    writer.write(last, earlier=earlier)
    writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        taken = [kept.step for kept in run.kept_windows()]
    assert taken == [steps[index] for index in kept_indices(steps)]
    assert len(taken) == FIRST + BETWEEN + NEWEST
    assert taken[:FIRST] == list(steps[:FIRST])
    assert taken[-NEWEST:] == list(steps[-NEWEST:])
