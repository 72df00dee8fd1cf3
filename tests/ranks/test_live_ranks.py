"""The first rank reads the records of the others while they are written, whatever state they are in."""

import pytest

from edgeglass_diag import live_ranks
from edgeglass_diag.live_ranks import LiveRanks
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.rules.ranks_state import WeightsDiffer
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.signals.ranks import STATE_HELD, WEIGHT_DIGEST
from edgeglass_diag.store import RunWriter, load
from tests.helpers import rank_programs

RULES = (WeightsDiffer(),)


@pytest.fixture(autouse=True)
def always_due(monkeypatch):
    monkeypatch.setattr(live_ranks, "_REST", 0.0)
    monkeypatch.setattr(live_ranks, "_SHARE", 0)


def writer_of(folder, rank):
    place = folder / f"rank-{rank}" if rank else folder
    return RunWriter(place, name="run", header={"rank": rank, "world_size": 2} | header_of(RULES))


def write(store, steps, apart=0.0):
    for step in steps:
        value = (0.1 * step + (apart if step > 1 else 0.0),)
        readings = [Reading(step, site, WEIGHT_DIGEST, value) for site in ("", "w")]
        store.write(
            Window(step, (*readings, Reading(step, "", GRADIENT_NORM, (1.0,)), Reading(step, "", STATE_HELD, (1.0,)))),
            [],
        )


def test_what_is_found_while_it_runs_is_what_the_reader_finds(tmp_path):
    first = writer_of(tmp_path, 0)
    live = LiveRanks(RULES)
    live.follow(tmp_path)
    write(first, range(4))
    assert live.look() == []
    second = writer_of(tmp_path, 1)
    write(second, range(3), apart=0.5)
    assert live.look() == []  # one rank lags
    write(second, range(3, 8), apart=0.5)
    write(first, range(4, 8))
    (found,) = live.look()
    assert "rank 1 differs from rank 0 since step 2 in 1 parameter, as w" in found.message
    assert live.look(last=True) == []
    for store in (first, second):
        store.finish("finished", {})
    with load(tmp_path) as run:
        (read,) = (finding for finding in run.findings if finding.code == "EG820")
        assert (read.message, read.evidence["ranks"]) == (found.message, [1])


def test_half_a_file_and_a_rank_that_died_are_no_error(tmp_path):
    first = writer_of(tmp_path, 0)
    write(first, range(8))
    broken = tmp_path / "rank-1"
    broken.mkdir()
    (broken / "run.json").write_bytes((tmp_path / "run.json").read_bytes())
    (broken / "signals.sqlite").write_bytes(b"SQLite format 3\0 and no more")
    died = writer_of(tmp_path, 2)
    write(died, range(7), apart=0.5)
    live = LiveRanks(RULES)
    live.follow(tmp_path)
    write(first, range(8, 20))
    assert [finding.evidence["ranks"] for finding in live.look()] == [[2]]


def test_another_rank_compares_nothing(tmp_path):
    first, second = writer_of(tmp_path, 0), writer_of(tmp_path, 1)
    write(first, range(8))
    write(second, range(8), apart=0.5)
    live = LiveRanks(RULES)
    live.follow(tmp_path / "rank-1")
    assert live.look() == []


@pytest.mark.long
def test_a_training_stops_on_what_the_ranks_show_together(command_server, tmp_path):
    ended = command_server.call(rank_programs.train_together, "until_stopped", str(tmp_path), {"stop_on": ["EG820"]})
    assert ended.returncode == 0, ended.stderr
    with load(tmp_path / "run") as run:
        assert "EG820" in {finding.code for finding in run.findings}
        assert run.last_step < rank_programs.MANY - 1
