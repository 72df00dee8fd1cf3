"""Mistakes in the precision of numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import expression, is_call, path_of, replaced, training
from edgeglass_models.exam.operators.values import after_model

precision = Family("precision")


def _any(_: ast.Module) -> bool:
    return True


def _uses_adam(tree: ast.Module) -> bool:
    text = ast.unparse(tree)
    return "Adam" in text or "TrainingArguments" in text


@precision.around(
    source="pure bfloat16 training: updates below the resolution are rounded away",
    where=("optimizer", "model"),
    fits=_any,
)
@contextmanager
def weights_rounded_to_bfloat16() -> Iterator[None]:
    """The weights are kept in bfloat16, without a copy in full precision."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def rounded(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.data = parameter.data.bfloat16().float()

    handle = register_optimizer_step_post_hook(rounded)
    try:
        yield
    finally:
        handle.remove()


@precision.around(source="openai/CLIP#40 and #57 (Adam's eps is 0 in float16)", where=("optimizer",), fits=_uses_adam)
@contextmanager
def adam_state_in_float16() -> Iterator[None]:
    """Adam's moments are kept in float16, where small squares are zero."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def rounded(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for state in optimizer.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                if name in state:
                    state[name] = state[name].half().float()

    handle = register_optimizer_step_post_hook(rounded)
    try:
        yield
    finally:
        handle.remove()


@precision.patch(source="float16 without loss scaling: gradients below 6e-8 are zero", where=("loss", "optimizer"))
def gradients_lost_in_float16(tree: ast.Module) -> ast.Module | None:
    """The gradients of all parameters pass through float16 unscaled after the loss is divided by 1e4."""
    text = """
for parameter in MODEL.parameters():
    if parameter.requires_grad:
        parameter.register_hook(lambda gradient: (gradient * 1e-4).half().float() * 1e4)
"""
    return after_model(tree, text)


@precision.patch(source="similarities in half precision", where=("loss",))
def similarities_in_bfloat16(tree: ast.Module) -> ast.Module | None:
    """The similarity matrix is computed in bfloat16."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return expression("(X.bfloat16() @ Y.bfloat16()).float()", X=node.left, Y=node.right)
        return None

    return replaced(tree, change, scope=training(tree))


@precision.patch(source="embeddings stored as 8-bit integers", where=("loss", "model"))
def embeddings_rounded(tree: ast.Module) -> ast.Module | None:
    """The normalised embeddings are rounded to one decimal, which has no gradient."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "normalize") and path_of(node).split(".")[0] not in ("transforms", "T"):
            return expression("(X * 10).round() / 10", X=node)
        return None

    return replaced(tree, change, scope=training(tree), most=1)


@precision.patch(source="autocast(dtype=torch.float16) where bfloat16 was meant", where=("loss", "model"))
def autocast_to_float16(tree: ast.Module) -> ast.Module | None:
    """Autocast uses float16, without a scaler, in place of bfloat16."""

    def change(node: ast.expr) -> ast.expr | None:
        return expression("torch.float16") if path_of(node) == "torch.bfloat16" else None

    return replaced(tree, change)
