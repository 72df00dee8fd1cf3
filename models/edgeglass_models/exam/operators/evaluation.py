"""Mistakes in the evaluation."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import evaluation as evaluating
from edgeglass_models.exam.operators.patching import is_call, name_of, replaced

evaluation = Family("evaluation")


@evaluation.patch(source="PyTorch: model.eval() forgotten", where=("model",))
def evaluated_in_training_mode(tree: ast.Module) -> ast.Module | None:
    """The model is evaluated in training mode."""

    def change(node: ast.expr) -> ast.expr | None:
        if (
            isinstance(node, ast.Call)
            and name_of(node) == "eval"
            and isinstance(node.func, ast.Attribute)
            and not node.args
        ):
            node.func.attr = "train"
            return node
        return None

    return replaced(tree, change, scope=evaluating(tree))


@evaluation.patch(source="CLIP_benchmark#7: embeddings compared without being normalised", where=("loss", "model"))
def evaluated_without_normalising(tree: ast.Module) -> ast.Module | None:
    """The evaluation compares embeddings that are not normalised."""

    def change(node: ast.expr) -> ast.expr | None:
        return node.args[0] if is_call(node, "normalize") and isinstance(node, ast.Call) and node.args else None

    return replaced(tree, change, scope=evaluating(tree))
