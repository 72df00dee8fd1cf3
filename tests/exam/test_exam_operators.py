"""Each operator fits a program of the folder, and what it gives is a program."""

import ast
import itertools

import pytest

from edgeglass_models.exam.cases import PER_PROGRAM, cases_of, healthy, programs
from edgeglass_models.exam.located import Place
from edgeglass_models.exam.operators import FAMILIES, OPERATORS
from edgeglass_models.exam.operators.patching import training, training_loops
from edgeglass_models.exam.operators.values import with_loss, with_number
from edgeglass_models.exam.split import part_of, part_of_case

PROGRAMS = {name: healthy(name, source).source for name, source in programs().items()}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_operator_changes_a_program_and_gives_one(family):
    for operator in family.operators:
        made = (operator.applied_to(source) for source in PROGRAMS.values())
        patched = next((one for one in made if one is not None), None)
        assert patched is not None, f"{operator.name} fits no program"
        compile(patched, operator.name, "exec")


def test_operators_say_what_they_are():
    names = [operator.name for operator in OPERATORS]
    assert len(names) == len(set(names)) >= 60
    for operator in OPERATORS:
        assert operator.does.endswith(".")
        assert operator.source
        assert set(operator.where) <= set(Place), operator.name
        assert (operator.patch is None) != (operator.around is None)


def test_a_program_is_tried_with_the_same_operators_each_time():
    name, source = next(iter(PROGRAMS.items()))
    first, second = ([case.name for case in cases_of(name, source, order)] for order in (OPERATORS, OPERATORS[::-1]))
    assert first == second
    assert len(first) <= PER_PROGRAM


def test_the_split_does_not_move():
    names = ("simclr", "siglip", "sign-flipped", "learning-rate-of-zero")
    assert [part_of(name) for name in names] == ["study", "exam", "study", "exam"]
    assert part_of_case("simclr", "sign-flipped") == "study"
    assert part_of_case("siglip", "sign-flipped") == part_of_case("simclr", "learning-rate-of-zero") == "exam"
    shares = [
        sum(part_of(name) == "exam" for name in some) / len(some) for some in (PROGRAMS, [o.name for o in OPERATORS])
    ]
    assert all(0.2 < share < 0.5 for share in shares)


SOURCE = """
def main(rate=0.1):
    model = Net()
    optimizer = SGD(model.parameters(), lr=rate, momentum=0.9)
    for epoch in range(3):
        for images, labels in loader:
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()

def evaluate(model):
    with torch.no_grad():
        return model(images)
"""


def test_code_that_evaluates_is_told_apart():
    tree = ast.parse(SOURCE)
    inside = training(tree)
    evaluate = tree.body[1]
    assert id(tree.body[0]) in inside
    assert not any(id(node) in inside for node in ast.walk(evaluate))
    assert [ast.unparse(loop.target) for loop in training_loops(tree)] == ["(images, labels)"]


def test_settings_are_found_by_their_names():
    changed = with_number(ast.parse(SOURCE), ("rate", "momentum"), lambda value: value * 2)
    assert "main(rate=0.2)" in ast.unparse(changed)
    assert "momentum=1.8" in ast.unparse(changed)
    assert with_number(ast.parse(SOURCE), ("temperature",), lambda value: value * 2) is None


def test_the_loss_that_goes_backward_is_found():
    negated = with_loss(ast.parse(SOURCE), lambda loss: ast.UnaryOp(ast.USub(), loss))
    assert "(-loss).backward()" in ast.unparse(negated)
    step = "class Module:\n    def training_step(self, batch):\n        return self.loss(batch)"
    assert "return -self.loss(batch)" in ast.unparse(
        with_loss(ast.parse(step), lambda loss: ast.UnaryOp(ast.USub(), loss))
    )


IN_TWO_FUNCTIONS = '''
"""A model is made in one function and trained in another."""
from __future__ import annotations
import torch

def train(model, optimizer, seen):
    for _ in range(50):
        loss = model(torch.ones(1, 1)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(model.weight.item())

def main(seen):
    model = torch.nn.Linear(1, 1)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), seen)
'''


def test_weights_are_reset_wherever_the_steps_are():
    operator = next(one for one in OPERATORS if one.name == "weights-reset-now-and-then")
    patched, seen = {}, []
    exec(compile(operator.applied_to(IN_TWO_FUNCTIONS), "patched", "exec"), patched)
    patched["main"](seen)
    jumps = [step for step, (before, after) in enumerate(itertools.pairwise(seen), start=2) if after > before]
    assert jumps == [20, 40]
