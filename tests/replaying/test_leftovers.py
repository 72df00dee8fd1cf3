"""What a recorded run has left is told by its times, and a mirror leaves it out."""

import json
import os

import pytest

from edgeglass_diag.replaying.leftovers import left_by, span_of
from edgeglass_diag.replaying.mirror import of_scratch

BEGUN, ENDED = 1000.0, 2000.0


@pytest.fixture
def program(tmp_path):
    """A folder with what was there before a run, what it made and wrote, and what was edited after it."""
    times = {
        "train.py": 1500,  # edited while it ran
        "data/train.csv": 500,
        "logs/first/out.txt": 500,
        "logs/again/out.txt": 1500,
        "logs/again/deep/params.txt": 1200,
        "last.pt": 1999,
        "config.yaml": 2100,
        "runs/ill/run.json": 1500,
        "runs/ill/signals.sqlite": 1900,
        "__pycache__/train.pyc": 1001,
        ".git/index": 1500,
    }
    for name, written in times.items():
        file = tmp_path / "program" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
        os.utime(file, (written, written))
    for folder in ("logs/again/deep", "logs/again", "logs"):
        os.utime(tmp_path / "program" / folder, (1500, 1500))
    (tmp_path / "program" / "link").symlink_to("last.pt")
    return tmp_path / "program"


def test_what_was_written_while_the_run_went_on_is_left_by_it(program):
    left = left_by([(BEGUN, ENDED)], str(program))
    assert [os.path.relpath(each, program) for each in left] == ["last.pt", "logs/again"]
    assert left_by([(3000, 4000)], str(program)) == ()
    assert left_by([], str(program)) == ()


def test_the_times_of_a_run_are_those_of_its_record(tmp_path):
    (tmp_path / "signals.sqlite").write_text("")
    os.utime(tmp_path / "signals.sqlite", (1700, 1700))
    header = {
        "format": "edgeglass-diag run",
        "version": 4,
        "name": "ill",
        "pid": 1,
        "status": "finished",
        "created": BEGUN,
        "ended": ENDED,
    }
    (tmp_path / "run.json").write_text(json.dumps(header))
    assert span_of(tmp_path) == (BEGUN, ENDED)
    del header["ended"]  # it was killed
    (tmp_path / "run.json").write_text(json.dumps(header))
    os.utime(tmp_path / "run.json", (BEGUN, BEGUN))
    assert span_of(tmp_path) == (BEGUN, 1700)


def test_a_mirror_without_them_is_as_before_the_run(program):
    mirror = of_scratch(str(program.parent / "scratch"), left_by([(BEGUN, ENDED)], str(program)))
    place = mirror.open(str(program), head_start=True)
    assert sorted(os.listdir(f"{place}/logs")) == ["first"]
    assert not os.path.lexists(f"{place}/last.pt")
    os.mkdir(f"{place}/logs/again")  # as the program does
    mirror.prepare_write(f"{place}/logs/again/deep/params.txt", keep=True)
    assert os.listdir(f"{place}/logs/again") == []
