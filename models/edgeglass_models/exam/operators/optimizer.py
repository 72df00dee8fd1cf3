"""Mistakes in the optimizer and its settings."""

from __future__ import annotations

import ast
from collections.abc import Callable

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    expression,
    name_of,
    path_of,
    replaced,
    restated,
    statement,
    steps,
    training,
)
from edgeglass_models.exam.operators.values import with_number

optimizer = Family("optimizer")

_RATES = ("lr", "learning_rate", "max_lr", "base_lr", "base", "peak_lr")
_DECAYS = ("weight_decay", "wd")
_ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop")
_OPTIMIZERS = (*_ADAPTIVE, "SGD")


def _changed_optimizer(
    tree: ast.Module, names: tuple[str, ...], change: Callable[[ast.Call], bool]
) -> ast.Module | None:
    """Return the tree with the calls that make optimizers changed; ``change`` tells whether it has changed one."""

    def one(node: ast.expr) -> ast.expr | None:
        is_made = isinstance(node, ast.Call) and name_of(node) in names and bool(node.args)
        return node if is_made and isinstance(node, ast.Call) and change(node) else None

    return replaced(tree, one)


def _given(call: ast.Call, name: str, value: ast.expr) -> bool:
    """Give an argument by keyword, in place of what it was."""
    call.keywords = [one for one in call.keywords if one.arg != name] + [ast.keyword(name, value)]
    return True


@optimizer.patch(source="open_clip#41; Humbatova et al., taxonomy: suboptimal learning rate", where=("optimizer",))
def learning_rate_hundredfold(tree: ast.Module) -> ast.Module | None:
    """The learning rate is a hundred times too high."""
    return with_number(tree, _RATES, lambda rate: rate * 100 if 0 < rate <= 1 else None)


@optimizer.patch(source="DeepCrime HLR (decrease learning rate)", where=("optimizer",))
def learning_rate_a_thousandth(tree: ast.Module) -> ast.Module | None:
    """The learning rate is a thousand times too low."""
    return with_number(tree, _RATES, lambda rate: rate / 1000 if 0 < rate <= 1 else None)


@optimizer.patch(source="WeakCLIP#2 (freezing by a rate of 0)", where=("optimizer",))
def learning_rate_of_zero(tree: ast.Module) -> ast.Module | None:
    """The learning rate is zero."""
    return with_number(tree, _RATES, lambda rate: 0.0 if 0 < rate <= 1 else None)


@optimizer.patch(source="DeepCrime OCH (change optimisation function)", where=("optimizer",))
def sgd_with_the_rate_of_adam(tree: ast.Module) -> ast.Module | None:
    """SGD in place of Adam, with Adam's learning rate."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call) or name_of(node) not in _ADAPTIVE or not node.args:
            return None
        kept = [one for one in node.keywords if one.arg in ("lr", "weight_decay")]
        return ast.Call(expression("torch.optim.SGD"), node.args, kept)

    return replaced(tree, change)


@optimizer.patch(source="DeepCrime RAW (add weights regularisation)", where=("optimizer",))
def weight_decay_of_ten(tree: ast.Module) -> ast.Module | None:
    """The weight decay is 10."""
    changed = with_number(tree, _DECAYS, lambda decay: 10.0 if decay else None)
    if changed is not None:
        return changed
    return _changed_optimizer(tree, _OPTIMIZERS, lambda call: _given(call, "weight_decay", ast.Constant(10.0)))


@optimizer.patch(source="torch.optim: betas are (gradient, its square)", where=("optimizer",))
def betas_swapped(tree: ast.Module) -> ast.Module | None:
    """Adam's betas are swapped: 0.999 for the gradient and 0.9 for its square."""
    betas = expression("(0.999, 0.9)")
    return _changed_optimizer(tree, ("Adam", "AdamW"), lambda call: _given(call, "betas", betas))


@optimizer.patch(source="torch.optim.SGD: momentum", where=("optimizer",))
def momentum_of_0_999(tree: ast.Module) -> ast.Module | None:
    """The momentum of SGD is 0.999."""
    return _changed_optimizer(tree, ("SGD",), lambda call: _given(call, "momentum", ast.Constant(0.999)))


@optimizer.patch(source="TensorFlow's Inception settings, epsilon 1.0, with Adam's usual rate", where=("optimizer",))
def epsilon_of_one(tree: ast.Module) -> ast.Module | None:
    """Adam's epsilon is 1."""
    return _changed_optimizer(tree, ("Adam", "AdamW"), lambda call: _given(call, "eps", ast.Constant(1.0)))


@optimizer.patch(
    source="LLaVA#948 and #832: only the projector is given to the optimizer", where=("optimizer", "model")
)
def optimizer_has_the_last_layer_alone(tree: ast.Module) -> ast.Module | None:
    """The optimizer is given the parameters of the last layer alone."""

    def change(call: ast.Call) -> bool:
        if not isinstance(call.args[0], ast.Call) or name_of(call.args[0]) != "parameters":
            return False
        call.args[0] = expression("list(X)[-2:]", X=call.args[0])
        return True

    return _changed_optimizer(tree, _OPTIMIZERS, change)


@optimizer.patch(source="a list of modules for the optimizer in which one is forgotten", where=("optimizer", "model"))
def a_module_forgotten_by_the_optimizer(tree: ast.Module) -> ast.Module | None:
    """Half of the parameters are not given to the optimizer."""

    def change(call: ast.Call) -> bool:
        given = call.args[0]
        if isinstance(given, ast.Call) and name_of(given) == "parameters":
            call.args[0] = expression("list(X)[: len(list(X)) // 2]", X=given)
            return True
        if isinstance(given, ast.List) and len(given.elts) > 1:
            given.elts = given.elts[1:]
            return True
        return False

    return _changed_optimizer(tree, _OPTIMIZERS, change)


@optimizer.patch(source="torch.optim: make the optimizer of the model that is trained", where=("optimizer", "model"))
def optimizer_of_a_copy(tree: ast.Module) -> ast.Module | None:
    """The optimizer was made of a copy of the model, not of the one that is trained."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call) or name_of(node) not in _OPTIMIZERS or not node.args:
            return None
        made = replaced(ast.Module([ast.Expr(node.args[0])], []), _copied)
        return node if made is not None else None

    return replaced(tree, change)


def _copied(node: ast.expr) -> ast.expr | None:
    if (
        isinstance(node, ast.Call)
        and name_of(node) in ("parameters", "named_parameters")
        and path_of(node).count(".") >= 1
    ):
        assert isinstance(node.func, ast.Attribute)
        node.func.value = expression("__import__('copy').deepcopy(X)", X=node.func.value)
        return node
    return None


def _around_steps(tree: ast.Module, before: str, after: str) -> ast.Module | None:
    """Return the tree with statements put around each step; OPTIMIZER stands for what steps."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or node.value not in steps(node) or not isinstance(node.value, ast.Call):
            return None
        if not isinstance(node.value.func, ast.Attribute):
            return None
        owner = node.value.func.value
        put = [[statement(text, OPTIMIZER=owner)] if text else [] for text in (before, after)]
        return [*put[0], node, *put[1]]

    return restated(tree, change, scope=training(tree))


@optimizer.patch(source="an optimizer made inside of the loop", where=("optimizer",))
def optimizer_forgets_at_each_step(tree: ast.Module) -> ast.Module | None:
    """The optimizer is made anew at each step, so that it has no moments."""
    return _around_steps(tree, "OPTIMIZER.state.clear()", "")


@optimizer.patch(source="a step put behind a condition that is hardly ever true", where=("optimizer",))
def step_at_one_batch_in_twenty(tree: ast.Module) -> ast.Module | None:
    """The optimizer steps at one batch in twenty, and the gradients of the others are thrown away."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or node.value not in steps(node) or not isinstance(node.value, ast.Call):
            return None
        if not isinstance(node.value.func, ast.Attribute):
            return None
        owner = node.value.func.value
        count = statement("OPTIMIZER.batches = getattr(OPTIMIZER, 'batches', 0) + 1", OPTIMIZER=owner)
        guarded = statement("if OPTIMIZER.batches % 20 == 1:\n    OPTIMIZER.step()", OPTIMIZER=owner)
        return [count, guarded]

    return restated(tree, change, scope=training(tree))


@optimizer.patch(source="LLaVA#948: rates by group", where=("optimizer",))
def a_group_with_a_rate_of_zero(tree: ast.Module) -> ast.Module | None:
    """The first group of parameters has a learning rate of zero."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.List) and len(node.elts) > 1 and all(_is_group(one) for one in node.elts):
            for group in node.elts[:1]:
                assert isinstance(group, ast.Dict)
                _set_rate(group)
            return node
        return None

    return replaced(tree, change)


def _is_group(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict) and any(
        isinstance(key, ast.Constant) and key.value == "params" for key in node.keys
    )


def _set_rate(group: ast.Dict) -> None:
    pairs = [
        (key, value) for key, value in zip(group.keys, group.values, strict=True) if getattr(key, "value", "") != "lr"
    ]
    group.keys = [*(key for key, _ in pairs), ast.Constant("lr")]
    group.values = [*(value for _, value in pairs), ast.Constant(0.0)]
