"""Whatever fails in ``edgeglass-diag run`` once the program runs: its output and exit status are its own."""

from __future__ import annotations

import sys

import pytest

from edgeglass_diag.commands import main
from tests.helpers.faults import Fault, functions_of, in_place_of
from tests.helpers.forked import forked

FUNCTIONS = functions_of(
    "edgeglass_diag.programs.attaching", "edgeglass_diag.programs.run_program", "edgeglass_diag.programs.announce",
    "edgeglass_diag.programs.rank_store", "edgeglass_diag.programs.children", "edgeglass_diag.profiling.steps",
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


def run(program, folder, *words):
    def call():
        sys.argv[:] = ["edgeglass-diag", "run", "--every", "1", "--out", str(folder), *words, str(program)]
        main()

    return forked(call)


@pytest.fixture(scope="module")
def unharmed(program, tmp_path_factory):
    ended = run(program, tmp_path_factory.mktemp("unharmed") / "run")
    assert ended.status == 3, ended.stderr
    assert len(ended.stdout.splitlines()) == 15
    assert ended.stdout.splitlines()[-1] == "5"
    return ended


def every_case():
    for name in FUNCTIONS:
        for mode in Fault.MODES:
            usual = mode == "first" and name in USUAL
            yield pytest.param(name, mode, marks=() if usual else pytest.mark.long, id=f"{name}-{mode}")


@pytest.mark.parametrize(("name", "mode"), list(every_case()))
def test_a_fault_does_not_reach_the_program(program, unharmed, tmp_path, name, mode):
    with in_place_of(FUNCTIONS[name], Fault(mode)):
        ended = run(program, tmp_path / "run")
    assert (ended.status, ended.stdout) == (3, unharmed.stdout), ended.stderr
    assert "Traceback" not in ended.stderr
