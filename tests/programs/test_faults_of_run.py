"""Whatever fails in ``edgeglass-diag run`` once the program runs: its output and exit status are its own."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.helpers.command_server import command_line
from tests.helpers.faults import Fault, functions_of, in_place_of

FUNCTIONS = functions_of(
    "edgeglass_diag.programs.attaching", "edgeglass_diag.programs.run_program", "edgeglass_diag.programs.announce",
    "edgeglass_diag.programs.rank_store", "edgeglass_diag.programs.children", "edgeglass_diag.profiling.steps",
    "edgeglass_diag.rank_store",
    "edgeglass_diag.run_header", "edgeglass_diag.store.reader", "edgeglass_diag.store.database",
    "edgeglass_diag.store.standing", "edgeglass_diag.commands.render.findings", "edgeglass_diag.render.findings",
)  # fmt: skip
OUTERMOST = {"run_program.run_program", "run_program._outcome", "run_program.Main.close", "run_program.Main.attach"}
"""What catches the faults of all others."""
FUNCTIONS = {name: function for name, function in FUNCTIONS.items() if name not in OUTERMOST}
USUAL = {f"attaching.Attachment.{name}" for name in ("close", "_open", "_after_fork", "_first_step", "_close_profile")}
PROGRAM = """
import os
import sys

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
model = nn.Linear(8, 8)
optimizer = torch.optim.Adam(model.parameters())
for step in range(14):
    loss = F.cross_entropy(model(torch.randn(4, 8)), torch.arange(4))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item().hex(), flush=True)
    if step == 7 and os.fork() == 0:  # a copy that trains
        optimizer.step()
        sys.exit(5)
print(os.waitstatus_to_exitcode(os.wait()[1]))
raise SystemExit(3)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    file = tmp_path_factory.mktemp("program") / "train.py"
    file.write_text(PROGRAM)
    return file


def run_with_fault(name, mode, program, folder):
    """Run the program with a fault in a function, without one where its name is empty."""
    with in_place_of(FUNCTIONS[name], Fault(mode)) if name else nullcontext():
        command_line("run", "--every", "1", "--out", folder, program)


@pytest.fixture(scope="module")
def unharmed(command_server, program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unharmed") / "run"
    ended = command_server.call(run_with_fault, "", "", str(program), str(folder))
    assert ended.returncode == 3, ended.stderr
    assert len(ended.stdout.splitlines()) == 15
    assert ended.stdout.splitlines()[-1] == "5"
    return ended


def every_case():
    for name in FUNCTIONS:
        for mode in Fault.MODES:
            usual = mode == "first" and name in USUAL
            yield pytest.param(name, mode, marks=() if usual else pytest.mark.long, id=f"{name}-{mode}")


@pytest.mark.parametrize(("name", "mode"), list(every_case()))
def test_a_fault_does_not_reach_the_program(command_server, program, unharmed, tmp_path, name, mode):
    ended = command_server.call(run_with_fault, name, mode, str(program), str(tmp_path / "run"))
    assert (ended.returncode, ended.stdout) == (3, unharmed.stdout), ended.stderr
    assert "Traceback" not in ended.stderr
