"""Cases are trained in copies of a process, once, and come out as what they are.

Copies are made in a process without threads: those of a test worker would be missing in them.
"""

import os
from pathlib import Path

from edgeglass_models.exam.cache import Cache
from edgeglass_models.exam.cases import Case, cases_of, healthy
from edgeglass_models.exam.operators import OPERATORS
from edgeglass_models.exam.operators.operator import Operator
from edgeglass_models.exam.pool import Task, import_for, run_all
from edgeglass_models.exam.runner import Exam
from edgeglass_models.exam.truth import Truth

PROGRAM = """
import argparse
import torch
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
torch.manual_seed(parser.parse_args().seed)
model = torch.nn.Linear(8, 4)
inputs = torch.randn(64, 8)
labels = inputs[:, :4].argmax(1)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
for step in range(30):
    loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("measure accuracy", (model(inputs).argmax(1) == labels).float().mean().item())
"""


def train_cases(folder):
    """Train a program and three cases of it."""
    told = []
    running = Exam(Cache(Path(folder)), jobs=2, seeds=1, say=told.append)
    assert import_for([PROGRAM, "import nowhere"]) == {
        "import nowhere": "ModuleNotFoundError: No module named 'nowhere'"
    }
    twin = healthy("small", PROGRAM)
    wanted = ("learning-rate-of-zero", "weights-rounded-to-bfloat16")
    cases = cases_of("small", PROGRAM, [operator for operator in OPERATORS if operator.name in wanted])
    broken = Operator("broken", "made", "Broken.", "made", ("model",), patch=lambda tree: tree)
    cases.append(Case("small", broken, "import nowhere", twin.source))
    results = {result.operator: result for result in running.run([twin], cases)}
    assert {name: result.truth for name, result in results.items()} == {
        "": None,
        "learning-rate-of-zero": Truth.ILL,
        "weights-rounded-to-bfloat16": Truth.HARMLESS,
        "broken": Truth.CRASHED,
    }
    assert results["broken"].reason == "ModuleNotFoundError: No module named 'nowhere'"
    assert any(line.startswith("cases, first seed: 3 of 3") for line in told)
    told.clear()
    assert running.run([twin], cases) == list(results.values())
    assert told == []


def run_failing_copy():
    """Run two copies, of which one fails."""

    def failing():
        raise ValueError("no")

    ended = {one.task.name: one.problem for one in run_all([Task(failing, "a"), Task(lambda: None, "b")], 2)}
    assert ended == {"a": "failed", "b": ""}


def run_endless_copy():
    """Run a copy that does not end."""
    import resource

    def busy():
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        while True:
            os.getpid()

    assert [one.problem for one in run_all([Task(busy, "a")], 1)] == ["over its CPU time"]


def test_a_case_is_trained_once_and_comes_out_as_what_it_is(command_server, tmp_path):
    ended = command_server.call(train_cases, str(tmp_path))
    assert ended.returncode == 0, ended.stderr


def test_a_copy_that_fails_is_told(command_server):
    ended = command_server.call(run_failing_copy)
    assert ended.returncode == 0, ended.stderr


def test_a_copy_over_its_cpu_time_is_ended(command_server):
    ended = command_server.call(run_endless_copy)
    assert ended.returncode == 0, ended.stderr
