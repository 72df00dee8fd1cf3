"""Mistakes in the schedule of the learning rate."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    expression,
    is_scheduler_step,
    number_of,
    replaced,
    restated,
    statement,
    steps,
    training,
)
from edgeglass_models.exam.operators.values import with_number

schedule = Family("schedule")

_WARM_UPS = ("num_warmup_steps", "warmup_steps", "warmup", "warmup_iters", "warm_up", "warmup_length", "warmup_epochs")
_LENGTHS = ("num_training_steps", "t_max", "total_steps", "total_iters", "max_iters")


def _rescheduled(tree: ast.Module, text: str) -> ast.Module | None:
    """Return the tree with the steps of its schedulers replaced by a statement of SCHEDULER; empty for none."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or not is_scheduler_step(node.value):
            return None
        assert isinstance(node.value, ast.Call)
        owner = node.value.func.value if isinstance(node.value.func, ast.Attribute) else node.value.func
        return [statement(text, SCHEDULER=owner)] if text else []

    return restated(tree, change, scope=training(tree))


@schedule.patch(source="diffusers#4387 (scheduler stepped once per process or micro-batch)", where=("optimizer",))
def scheduler_steps_ten_times(tree: ast.Module) -> ast.Module | None:
    """The scheduler steps ten times per step of the optimizer."""
    return _rescheduled(tree, "for _ in range(10):\n    SCHEDULER.step()")


@schedule.patch(source="torch.optim: call scheduler.step() after optimizer.step()", where=("optimizer",))
def scheduler_never_steps(tree: ast.Module) -> ast.Module | None:
    """The scheduler is never stepped: the rate stays where warm-up begins."""
    return _rescheduled(tree, "")


@schedule.patch(source="a warm-up in steps taken for one in epochs", where=("optimizer",))
def warm_up_longer_than_the_training(tree: ast.Module) -> ast.Module | None:
    """The warm-up is a hundred times longer."""
    return with_number(tree, _WARM_UPS, lambda length: length * 100 if length >= 1 else None)


@schedule.patch(source="perceiver-pytorch#13 (no warm-up)", where=("optimizer",))
def no_warm_up(tree: ast.Module) -> ast.Module | None:
    """There is no warm-up."""
    return with_number(tree, _WARM_UPS, lambda length: 0 if length else None)


@schedule.patch(source="a total in epochs taken for one in steps", where=("optimizer",))
def schedule_ends_at_a_tenth(tree: ast.Module) -> ast.Module | None:
    """The schedule believes that the training is ten times shorter."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call):
            return None
        for given in node.keywords:
            if (given.arg or "").lower() in _LENGTHS:
                given.value = expression("max(2, (X) // 10)", X=given.value)
                return node
        return None

    return replaced(tree, change)


@schedule.patch(source="ExponentialLR stepped per batch with a decay meant per epoch", where=("optimizer",))
def rate_decays_at_each_step(tree: ast.Module) -> ast.Module | None:
    """The learning rate is multiplied by 0.8 at each step, as was meant for each epoch."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or node.value not in steps(node) or not isinstance(node.value, ast.Call):
            return None
        if not isinstance(node.value.func, ast.Attribute):
            return None
        owner = node.value.func.value
        text = "for group in OPTIMIZER.param_groups:\n    group['lr'] *= 0.8"
        return [node, statement(text, OPTIMIZER=owner)]

    without = _rescheduled(tree, "")
    return restated(without or tree, change, scope=training(tree))


@schedule.patch(source="a schedule by hand whose branches are swapped", where=("optimizer",))
def schedule_by_hand_divided_twice(tree: ast.Module) -> ast.Module | None:
    """A schedule by hand sets a rate that is a hundred times too low."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Subscript):
            return None
        if "lr" not in ast.unparse(node.targets[0].slice) or number_of(node.value) is not None:
            return None
        node.value = expression("(X) / 100", X=node.value)
        return [node]

    return restated(tree, change)
