"""A program trains to its own end, with its own losses and status, whatever becomes of the place of its record."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeglass_diag.store import load
from tests.helpers.breaking import UNDOING, WAYS
from tests.helpers.command_server import command_line

PROGRAM = """
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tests.helpers.breaking import UNDOING, WAYS

way, phase, out, undone, watched = sys.argv[1:6]
out = Path(out)


def train(steps=40):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(steps):
        if step == {"first": 0, "middle": 20}.get(phase):
            WAYS[way](out)
        if step == 30 and undone == "undone":
            UNDOING[way](out)
        loss = F.cross_entropy(model(torch.randn(4, 8)), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, loss.item().hex(), flush=True)
    if phase == "last":
        WAYS[way](out)


if watched == "watch":
    import edgeglass_diag as eg

    with eg.watch(out=out, every=1):
        train()
        sys.exit(3)
train()
sys.exit(3)
"""


@pytest.fixture
def disk(tmp_path):
    """A disk of its own of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a disk of its own cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def run_program(verb, program, way, phase, folder, undone):
    """Run the program by ``edgeglass-diag run``, with ``eg.watch`` inside, or alone."""
    arguments = [way, phase, folder, undone, verb]
    if verb == "run":
        command_line("run", "--every", "1", "--out", folder, program, "--", *arguments)
    else:
        sys.argv[:] = [program, *arguments]
        exec(compile(Path(program).read_text(), program, "exec"), {"__name__": "__main__"})


@pytest.fixture(scope="module")
def ends(command_server, program):
    def run(disk, verb, way, phase, *, undone=False):
        words = (way, phase, str(disk / "run"), "undone" if undone else "")
        return command_server.call(run_program, verb, str(program), *words)

    return run


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    file = tmp_path_factory.mktemp("program") / "train.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture(scope="module")
def unwatched(ends, tmp_path_factory):
    ended = ends(tmp_path_factory.mktemp("alone"), "alone", "none", "never")
    assert (ended.returncode, ended.stderr) == (3, "")
    assert len(ended.stdout.splitlines()) == 40
    return ended


def every_case():
    """All ways, by both means, in all phases; those not in make test are long. A lock is waited for at the end."""
    for way, verb, phase in itertools.product(WAYS, ("run", "watch"), ("first", "middle", "last")):
        usual = ((verb, phase) == ("run", "middle") and way != "locked") or (way, verb, phase) == (
            "full",
            "watch",
            "last",
        )
        yield pytest.param(way, verb, phase, marks=() if usual else pytest.mark.long, id=f"{way}-{verb}-{phase}")


@pytest.mark.parametrize(("way", "verb", "phase"), list(every_case()))
def test_a_program_ends_as_it_would_have_ended(ends, unwatched, disk, verb, way, phase):
    ended = ends(disk, verb, way, phase)
    assert ended.returncode == 3, ended.stderr
    assert ended.stdout == unwatched.stdout
    # Torch logs a module of its own that it cannot import without a descriptor, watched or not.
    assert not any(line.startswith("Traceback") for line in ended.stderr.splitlines())
    assert "Exception ignored" not in ended.stderr
    if phase == "middle" and way in ("full", "removed", "moved", "truncated", "locked"):
        assert "EG901 " in ended.stderr


@pytest.mark.parametrize("way", UNDOING)
def test_recording_goes_on_where_it_can_be_written_again(ends, unwatched, disk, way):
    ended = ends(disk, "run", way, "middle", undone=True)
    assert (ended.returncode, ended.stdout) == (3, unwatched.stdout)
    if way != "locked":  # a lock is waited for
        assert "EG901 " in ended.stderr
        assert "recording goes on" in ended.stderr
    with load(disk / "run") as run:
        assert run.last_step == 39
        assert run.windows == run.record.recorded == run.record.taken == 40
        assert [finding.code for finding in run.findings] == []
        assert json.loads((disk / "run" / "run.json").read_text())["result"]["exit_status"] == 3
