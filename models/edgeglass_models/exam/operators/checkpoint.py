"""Mistakes in what is saved and loaded."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import expression, is_call, is_statement_of, replaced, restated
from edgeglass_models.exam.operators.values import after_model

checkpoint = Family("checkpoint")


@checkpoint.patch(source="LLaVA#808 and #1373 (newly initialised at evaluation)", where=("model",))
def checkpoint_not_loaded(tree: ast.Module) -> ast.Module | None:
    """The checkpoint is not loaded before the evaluation."""
    return restated(tree, lambda node: [] if is_statement_of(node, "load_state_dict", "load_model") else None)


@checkpoint.patch(source="PyTorch: DataParallel puts module. before the keys; strict=False hides it", where=("model",))
def keys_that_do_not_match(tree: ast.Module) -> ast.Module | None:
    """The keys of the checkpoint do not match, and strict=False hides it."""
    return _loaded(tree, "{'module.' + key: value for key, value in X.items()}")


@checkpoint.patch(source="LLaVA#808 (a part that was not saved)", where=("model",))
def half_of_the_checkpoint_missing(tree: ast.Module) -> ast.Module | None:
    """Half of the checkpoint is missing, and strict=False hides it."""
    return _loaded(tree, "dict(list(X.items())[::2])")


def _loaded(tree: ast.Module, text: str) -> ast.Module | None:
    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "load_state_dict") and isinstance(node, ast.Call) and node.args:
            node.args[0] = expression(text, X=node.args[0])
            node.keywords = [ast.keyword("strict", ast.Constant(False))]
            return node
        return None

    return replaced(tree, change)


@checkpoint.patch(source="a checkpoint of the first epoch kept as the best", where=("model",))
def checkpoint_of_the_start(tree: ast.Module) -> ast.Module | None:
    """What is evaluated are the weights before the training."""
    saves = any(is_statement_of(node, "save", "save_file") for node in ast.walk(tree) if isinstance(node, ast.stmt))
    if not saves or after_model(tree, "untrained = __import__('copy').deepcopy(MODEL.state_dict())") is None:
        return None

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "state_dict") and isinstance(node, ast.Call) and not node.args:
            return expression("untrained")
        return None

    def saving(node: ast.stmt) -> list[ast.stmt] | None:
        if not is_statement_of(node, "save", "save_file"):
            return None
        return [node] if replaced(ast.Module([node], []), change, most=1) is not None else None

    return restated(tree, saving)
