"""Mistakes in what is trained, and in state that changes without gradients."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    is_statement_of,
    keyword,
    name_of,
    replaced,
    restated,
    steps,
    training,
    training_loops,
)
from edgeglass_models.exam.operators.values import after_model, with_number

freezing = Family("freezing")

_MOMENTA = ("m", "ema_decay", "ema", "momentum_teacher", "momentum_val", "ema_momentum", "key_momentum")


@freezing.patch(source="Hugging Face: requires_grad = False for all but the head", where=("model",))
def everything_but_the_last_layer_frozen(tree: ast.Module) -> ast.Module | None:
    """All parameters but those of the last layer are frozen."""
    return after_model(tree, "for parameter in list(MODEL.parameters())[:-2]:\n    parameter.requires_grad_(False)")


@freezing.patch(source="freezing by a prefix that matches more than was meant", where=("model",))
def second_half_frozen(tree: ast.Module) -> ast.Module | None:
    """The second half of the parameters is frozen, the new layers among them."""
    text = """
for parameter in list(MODEL.parameters())[len(list(MODEL.parameters())) // 2 :]:
    parameter.requires_grad_(False)
"""
    return after_model(tree, text)


@freezing.patch(source="LLaVA#948 (what is frozen and what is not confused)", where=("model",))
def frozen_part_trained(tree: ast.Module) -> ast.Module | None:
    """What is to stay frozen has gradients."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if isinstance(node, ast.Assign) and name_of(node.targets[0]) == "requires_grad":
            return []
        return [] if is_statement_of(node, "requires_grad_", "freeze", "deactivate_requires_grad") else None

    return restated(tree, change)


@freezing.patch(source="PyTorch: model.eval() is not undone", where=("model",))
def trained_in_evaluation_mode(tree: ast.Module) -> ast.Module | None:
    """The model is trained in evaluation mode."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Call) and name_of(node) == "train" and not node.args and not node.keywords:
            assert isinstance(node.func, ast.Attribute)
            if name_of(node.func.value) == "trainer":
                return None
            node.func.attr = "eval"
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@freezing.patch(source="BYOL and MoCo: the momentum encoder must follow", where=("model",))
def momentum_encoder_never_follows(tree: ast.Module) -> ast.Module | None:
    """The momentum encoder stays as it was made: its momentum is 1."""
    return _with_momentum(tree, 1.0)


@freezing.patch(source="MoCo: a momentum of 0 makes the keys inconsistent", where=("model",))
def momentum_encoder_is_the_encoder(tree: ast.Module) -> ast.Module | None:
    """The momentum encoder is a copy of the encoder at each step: its momentum is 0."""
    return _with_momentum(tree, 0.0)


def _with_momentum(tree: ast.Module, momentum: float) -> ast.Module | None:
    """Return the tree with another momentum of its slow copy; that of optimizers and BatchNorm is another thing."""

    def change(node: ast.expr) -> ast.expr | None:
        given = keyword(node, "m") if isinstance(node, ast.Call) else None
        if given is None or not isinstance(node, ast.Call) or "update" not in name_of(node):
            return None
        given.value = ast.Constant(momentum)
        return node

    changed = replaced(tree, change)
    numbers = with_number(tree, _MOMENTA, lambda value: momentum if 0.5 < value < 1 else None)
    found = False
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(one.arg == "momentum" for one in node.args.args):
            found |= (
                with_number(ast.Module([node], []), ("momentum",), lambda value: momentum if value > 0.5 else None)
                is not None
            )
    return changed or numbers or (tree if found else None)


@freezing.patch(source="MoCo: the queue must be filled", where=("model", "loss"))
def queue_never_filled(tree: ast.Module) -> ast.Module | None:
    """The queue of negatives keeps the noise that it was made with."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        named = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and "enqueue" in name_of(node.value)
        return [] if named else None

    return restated(tree, change)


@freezing.patch(source="a slow copy that is updated behind a condition", where=("model",))
def momentum_update_forgotten(tree: ast.Module) -> ast.Module | None:
    """The statement that updates the momentum encoder or teacher is missing."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
            return None
        name = name_of(node.value)
        return [] if "update" in name and ("moment" in name or "teacher" in name or "ema" in name) else None

    return restated(tree, change)


@freezing.patch(source="a checkpoint that is loaded inside of the loop", where=("model", "optimizer"))
def weights_reset_now_and_then(tree: ast.Module) -> ast.Module | None:
    """The weights of the start are loaded again every twenty steps."""
    made = after_model(tree, "reset.update(model=MODEL, kept=deepcopy(MODEL.state_dict()), seen=0)")
    if made is None or not training_loops(tree):
        return None
    tree.body[_first(tree) : _first(tree)] = ast.parse("from copy import deepcopy\nreset = {}").body

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or node.value not in steps(node):
            return None
        text = (
            "if reset:\n    reset['seen'] += 1\n"
            "    if reset['seen'] % 20 == 0:\n        reset['model'].load_state_dict(reset['kept'])"
        )
        return [node, *ast.parse(text).body]

    return restated(tree, change, scope=training(tree))


def _first(tree: ast.Module) -> int:
    """Return the place of the first statement behind the docstring and imports from the future."""
    future = sum(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    return future + (ast.get_docstring(tree) is not None)


@freezing.patch(source="weight constraints, as Keras has them, with the wrong norm", where=("model",))
def every_weight_matrix_normalised(tree: ast.Module) -> ast.Module | None:
    """A leftover constraint sets the norm of each weight matrix to 1 after each step."""
    if after_model(tree, "trained = MODEL") is None:
        return None

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or node.value not in steps(node):
            return None
        text = """
for matrix in trained.parameters():
    if matrix.ndim > 1:
        matrix.data /= matrix.data.norm()
"""
        return [node, *ast.parse(text).body]

    return restated(tree, change, scope=training(tree))
