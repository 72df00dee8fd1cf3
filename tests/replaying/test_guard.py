"""Files are written in the scratch folder alone, whichever layer of the guard is there."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from edgeglass_diag.replaying import landlock
from edgeglass_diag.replaying.mirror import Mirror

BEGIN = """
import errno, os, sys
from pathlib import Path
from edgeglass_diag.replaying.guard import Guard, refusal_in
from edgeglass_diag.replaying.mirror import of_scratch
base, kernel, hook = sys.argv[1], "kernel" in sys.argv, "hook" in sys.argv
mirror = of_scratch(base + "/scratch")
os.chdir(mirror.open(base + "/program", head_start=False))
guard = Guard(mirror, [base + "/scratch"], [base + "/program/*.csv"])
if kernel: guard.restrict()
if hook: guard.begin()
def refused(call, *arguments):
    try: call(*arguments)
    except OSError as error:
        kernels = error.errno in (errno.EACCES, errno.EPERM, errno.EXDEV)  # the last for links between folders
        return refusal_in(error) is error if hook else kernels
    return False
here = Path(base, "program")
"""
KERNEL = pytest.param(("kernel",), marks=pytest.mark.skipif(landlock.version() < 3, reason="no Landlock here"))
ALL = [KERNEL, ("hook",), pytest.param(("kernel", "hook"), marks=KERNEL.marks)]


@pytest.fixture
def guarded(tmp_path):
    for name in ("a.txt", "data/b.txt", "data/deep/c.txt", "d.csv"):
        (tmp_path / "program" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "program" / name).write_text("old")
    (tmp_path / "scratch").mkdir()

    def run(source, layers):
        line = [sys.executable, "-c", BEGIN + dedent(source), str(tmp_path), *layers]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.program = tmp_path / "program"
    return run


def contents(folder):
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("layers", ALL)
def test_nothing_outside_is_written_moved_or_deleted(guarded, layers):
    before = contents(guarded.program)
    source = """
    file, new = str(here / "a.txt"), str(here / "new")
    calls = [
        (open, file, "w"), (open, file, "a"), (open, file, "r+"), (open, new, "w"), (os.remove, file),
        (os.truncate, file, 0), (os.rename, file, new), (os.replace, "a.txt", file), (os.mkdir, new),
        (os.link, file, "hard"), (os.symlink, file, new), (os.rename, str(here / "data"), new),
        (os.open, file, os.O_RDWR | os.O_TRUNC), ((here / "data/b.txt").unlink,),
    ]
    let = [call for call in calls if not refused(*call)]
    assert not let, let
    assert open(file).read() == "old"
    """
    guarded(source, layers)
    assert contents(guarded.program) == before


@pytest.mark.parametrize("layers", ALL[1:])
def test_relative_paths_are_written_in_the_mirror(guarded, layers):
    before = contents(guarded.program)
    source = """
    import shutil
    with open("a.txt", "a") as file: file.write(" and new")
    Path("data/deep/c.txt").write_text("new")
    os.chmod("data/b.txt", 0o600)
    os.makedirs("data/made/of", exist_ok=True)
    Path("data/made/of/it").touch()
    assert sorted(str(p) for p in Path().rglob("*.txt")) == ["a.txt", "data/b.txt", "data/deep/c.txt"]
    assert [Path(p).read_text() for p in ("a.txt", "data/b.txt", "data/deep/c.txt")] == ["old and new", "old", "new"]
    os.rename("data", "moved")
    assert Path("moved/b.txt").read_text() == "old"
    shutil.rmtree("moved")
    os.replace("a.txt", "d.csv")
    assert os.listdir() == ["d.csv"], os.listdir()
    assert Path("../program/d.csv").read_text() == "old and new"
    """
    mode = os.stat(guarded.program / "data/b.txt").st_mode
    guarded(source, layers)
    assert contents(guarded.program) == before
    assert os.stat(guarded.program / "data/b.txt").st_mode == mode


@pytest.mark.skipif(landlock.version() < 3, reason="no Landlock here")
def test_other_programs_are_kept_from_it_too(guarded):
    source = """
    import subprocess
    print(subprocess.run(["sh", "-c", f"echo new > {here}/a.txt; rm {here}/a.txt"]).returncode)
    """
    assert guarded(source, ("kernel",)).strip() != "0"
    assert (guarded.program / "a.txt").read_text() == "old"


@pytest.mark.parametrize("layers", ALL[1:])
def test_what_a_pattern_allows_is_written(guarded, layers):
    guarded("(here / 'd.csv').write_text('new'); assert refused((here / 'a.txt').write_text, 'new')", layers)
    assert contents(guarded.program)["d.csv"] == "new"


def test_a_mirror_that_lies_in_what_it_mirrors_does_not_hold_itself(tmp_path):
    for name in ("x.replay", "y.replay"):
        (tmp_path / "runs" / name / "scratch").mkdir(parents=True)
    (tmp_path / "train.py").write_text("pass")
    mirror = Mirror(str(tmp_path / "runs" / "x.replay" / "scratch" / "tree"))
    place = mirror.open(str(tmp_path), head_start=True)
    found = [
        os.path.relpath(os.path.join(way, name), place)
        for way, _, names in os.walk(place, followlinks=True)
        for name in names
    ]
    assert found == ["train.py"]


def test_small_files_around_the_program_are_copies(tmp_path):
    data = tmp_path / "program" / "data"
    data.mkdir(parents=True)
    (data / "small.json").write_text("old")
    (data / "linked.json").symlink_to("small.json")
    (data / "large.bin").touch()
    os.truncate(data / "large.bin", 2**24 + 1)
    place = Mirror(str(tmp_path / "scratch" / "tree")).open(str(tmp_path / "program"), head_start=True)
    with os.scandir(os.path.join(place, "data")) as entries:
        links = {entry.name: entry.is_symlink() for entry in entries}
    assert links == {"small.json": False, "linked.json": True, "large.bin": True}
    with open(os.path.join(place, "data/small.json"), "w") as opened:  # as a writer that nobody hears
        opened.write("new")
    assert (data / "small.json").read_text() == "old"


def test_a_folder_is_a_link_until_its_parent_is_listed_or_it_is_written(tmp_path):
    (tmp_path / "program" / "data" / "deep").mkdir(parents=True)
    mirror = Mirror(str(tmp_path / "scratch" / "tree"))
    place = mirror.open(str(tmp_path / "program"))
    data = os.path.join(place, "data")
    assert os.path.islink(data)
    mirror.prepare_listing(data)
    assert os.path.islink(data)
    mirror.prepare_listing(place)
    assert not os.path.islink(data)
    assert os.path.islink(os.path.join(data, "deep"))
    mirror.prepare_write(os.path.join(data, "deep", "new"), keep=True)
    assert not os.path.islink(os.path.join(data, "deep"))
    assert not (tmp_path / "program" / "data" / "deep" / "new").exists()


@pytest.mark.long
@pytest.mark.parametrize("layers", ALL[1:])
def test_writers_in_other_languages_ask_first(guarded, layers):
    source = """
    from edgeglass_diag.replaying.entry_points import guard_writers
    import numpy, torch
    guard_writers(guard)
    import pyarrow, pyarrow.feather, pyarrow.parquet, safetensors.numpy, safetensors.torch
    file, array = str(here / "a.txt"), numpy.zeros(3)
    table, scripted = pyarrow.table({"x": [1]}), torch.jit.script(torch.nn.Linear(2, 2))
    calls = [
        (torch.save, {}, file), (torch.jit.save, scripted, file),
        (safetensors.torch.save_file, {"x": torch.zeros(3)}, file), (safetensors.numpy.save_file, {"x": array}, file),
        (pyarrow.parquet.write_table, table, file), (pyarrow.feather.write_feather, table, file),
        (numpy.save, file, array), (lambda: numpy.memmap(file, mode="r+")), (array.tofile, file),
    ]
    let = [call for call in calls if not refused(*(call if isinstance(call, tuple) else (call,)))]
    assert not let, let
    for file in ("a.txt", "data/b.txt"): torch.save({}, file)
    pyarrow.parquet.write_table(table, "data/deep/c.txt")
    torch.save({}, open("d.csv", "wb"))
    """
    guarded(source, layers)
    assert set(contents(guarded.program).values()) == {"old"}
