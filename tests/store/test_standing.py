"""How a run stands: by its process or, from afar, by its heartbeat; and reading leaves no trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import edgeglass_diag as eg
from edgeglass_diag.liveness import SILENCE
from edgeglass_diag.records import Reading, RecordState, RunStatus, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.store import RunWriter, load
from tests.helpers.waiting import until


def written(folder, **process):
    """A run whose process is running, with other facts about that process."""
    writer = RunWriter(folder, name="r", header={})
    writer.write(Window(0, (Reading(0, "", metric("x"), (1.0,)),)))
    file = folder / "run.json"
    header = json.loads(file.read_text())
    header["process"] |= process
    file.write_text(json.dumps(header))
    return writer


def status(folder):
    with load(folder) as run:
        assert len(run.readings(metric("x"))) == 1
        return run.status


def test_of_this_machine_the_process_tells(tmp_path):
    written(tmp_path / "mine")
    assert status(tmp_path / "mine") == "running"
    written(tmp_path / "others", pid=1)  # runs, but did not start then
    assert status(tmp_path / "others") == "failed"
    written(tmp_path / "gone", pid=2**22 + 1)
    assert status(tmp_path / "gone") == "failed"


@pytest.mark.parametrize("fact", [{"host": "elsewhere"}, {"boot": "earlier"}, {"namespace": "pid:[1]"}])
def test_of_another_machine_boot_or_container_the_heartbeat_tells(tmp_path, fact, monkeypatch):
    writer = written(tmp_path / "run", pid=2**22 + 1, **fact)
    assert status(tmp_path / "run") == "running"
    moment = time.time() - SILENCE - 1
    monkeypatch.setattr("edgeglass_diag.store.state.time.time", lambda: moment)
    writer.note_state(RunStatus.RUNNING, RecordState())
    monkeypatch.undo()
    assert status(tmp_path / "run") == "failed"


def test_a_killed_process_that_is_not_waited_for_runs_no_more(tmp_path):
    code = "import sys, time; from pathlib import Path; from tests.store.test_standing import written"
    code += "; written(Path(sys.argv[1])); time.sleep(1000)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")])
    told = until(lambda: status(tmp_path / "run"), "it can be read", errors=(AssertionError, eg.UsageError))
    assert told == "running"
    process.kill()
    until(lambda: status(tmp_path / "run") == "failed", "the zombie is none that runs")
    process.wait()
    assert status(tmp_path / "run") == "failed"


def test_a_watch_that_is_never_entered_does_not_run(tmp_path):
    eg.watch(out=tmp_path / "run")
    with load(tmp_path / "run") as run:
        assert (run.status, run.result["error"]) == ("failed", "the watch was made and never entered")


def test_a_watch_records_one_run(tmp_path):
    watch = eg.watch(out=tmp_path / "run")
    with watch, pytest.raises(eg.UsageError, match="this one is open"), watch:
        pass
    with pytest.raises(eg.UsageError, match="this one has ended"), watch:
        pass
    with load(tmp_path / "run") as run:
        assert run.status == "finished"


def test_the_end_is_known_where_run_json_could_not_be_written(tmp_path, monkeypatch):
    writer = written(tmp_path / "run")
    (tmp_path / "run" / "run.json.tmp").mkdir()
    with pytest.raises(IsADirectoryError):
        writer.finish("stopped", {})
    assert status(tmp_path / "run") == "stopped"


@pytest.mark.parametrize("finished", [True, False])
def test_reading_leaves_nothing_behind(tmp_path, finished):
    writer = written(tmp_path / "run", **({} if finished else {"pid": 2**22 + 1}))
    if finished:
        writer.finish("finished", {})
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert set(before) <= {"run.json", "state.json", "signals.sqlite", "signals.sqlite-journal"}
    assert status(tmp_path / "run") == ("finished" if finished else "failed")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before
    assert not finished or "signals.sqlite-journal" not in before


def test_a_finished_run_on_a_read_only_disk_is_read(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a disk of its own cannot be mounted here")
    try:
        written(disk / "run").finish("finished", {})
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert status(disk / "run") == "finished"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def write_half(folder):
    """Be killed in the middle of a transaction that has reached the disk."""
    db = written(Path(folder))._db
    db.execute("PRAGMA cache_spill=ON")
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO names VALUES (?, ?, 0)", ((n, f"{n}" * 500) for n in range(100, 2000)))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_transaction_that_was_cut_off_is_put_right_in_a_copy(tmp_path, command_server):
    """A process killed while it commits leaves a journal that undoes the half; what was there before is read."""
    assert command_server.call(write_half, str(tmp_path / "run")).returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "signals.sqlite-journal").stat().st_size
    assert status(tmp_path / "run") == "failed"
    assert (tmp_path / "run" / "signals.sqlite-journal").stat().st_size
