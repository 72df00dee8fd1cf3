"""Mistakes between the loss and the step."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    expression,
    is_call,
    is_statement_of,
    keyword,
    name_of,
    replaced,
    restated,
    steps,
    training,
    training_loops,
)
from edgeglass_models.exam.operators.values import with_loss, with_number

gradients = Family("gradients")

_ENCODERS = (
    "encoder", "backbone", "visual", "vision_model", "image_encoder", "vision_encoder", "trunk", "stem", "body",
    "text_encoder", "text_model", "tower", "image_tower", "text_tower", "projector", "projection_head", "resampler",
)  # fmt: skip
_CLIPPING = ("max_grad_norm", "gradient_clip_val", "clip", "grad_clip", "max_norm", "grad_clip_norm")


@gradients.patch(source="openai/CLIP#362; Humbatova et al.", where=("optimizer",))
def zero_grad_forgotten(tree: ast.Module) -> ast.Module | None:
    """The gradients are never cleared."""
    return restated(tree, lambda node: [] if is_statement_of(node, "zero_grad") else None)


def _trains_by_a_library(tree: ast.Module) -> bool:
    return not training_loops(tree)


@gradients.around(source="openai/CLIP#362, by a callback", where=("optimizer",), fits=_trains_by_a_library)
@contextmanager
def gradients_never_cleared() -> Iterator[None]:
    """Nothing clears the gradients."""
    import torch

    with ExitStack() as stack:
        for owner in (torch.optim.Optimizer, torch.nn.Module):
            stack.enter_context(patch.object(owner, "zero_grad", lambda self, set_to_none=True: None))
        yield


@gradients.patch(source="zero_grad at the wrong place", where=("optimizer",))
def cleared_before_the_step(tree: ast.Module) -> ast.Module | None:
    """The gradients are cleared between backward and step."""
    cleared = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and is_statement_of(node, "zero_grad")]
    if not cleared:
        return None

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if is_statement_of(node, "zero_grad"):
            return []
        stepping = isinstance(node, ast.Expr) and node.value in steps(node)
        return [cleared[0], node] if stepping else None

    return restated(tree, change)


@gradients.patch(source="DeepCrime OCG (change gradient clipping)", where=("optimizer",))
def clipped_to_nothing(tree: ast.Module) -> ast.Module | None:
    """The gradients are clipped to a norm of 1e-7."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "clip_grad_norm_") and isinstance(node, ast.Call) and len(node.args) > 1:
            node.args[1] = ast.Constant(1e-7)
            return node
        return None

    return replaced(tree, change) or with_number(tree, _CLIPPING, lambda bound: 1e-7 if bound else None)


@gradients.patch(source="clipping before backward, or left out with a high rate", where=("optimizer",))
def clipping_left_out(tree: ast.Module) -> ast.Module | None:
    """The gradients are not clipped."""
    return restated(tree, lambda node: [] if is_statement_of(node, "clip_grad_norm_", "clip_grad_value_") else None)


@gradients.patch(source="accelerate#1154, openai/CLIP (gathered embeddings without gradient)", where=("loss", "model"))
def one_side_without_gradient(tree: ast.Module) -> ast.Module | None:
    """One side of the similarity matrix is detached."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            node.right = expression("X.detach()", X=node.right)
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@gradients.patch(source="no_grad around an encoder that is to be trained", where=("model",))
def an_encoder_without_gradient(tree: ast.Module) -> ast.Module | None:
    """An encoder runs without gradients although it is to be trained."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Call) and name_of(node) in _ENCODERS and isinstance(node.func, ast.Attribute):
            return expression("X.detach()", X=node)
        return None

    return replaced(tree, change, scope=training(tree), most=1)


@gradients.patch(source="pytorch forum: a loss rebuilt from its value", where=("loss", "model"))
def loss_rebuilt_from_its_value(tree: ast.Module) -> ast.Module | None:
    """The loss is made anew from its value, and has no gradient into the model."""
    return with_loss(tree, lambda loss: expression("torch.tensor(X.item(), requires_grad=True)", X=loss))


@gradients.patch(source="stop-gradient left out: SimSiam", where=("loss", "model"))
def stop_gradient_left_out(tree: ast.Module) -> ast.Module | None:
    """The targets are not detached."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "detach") and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.value
        return None

    return replaced(tree, change, scope=training(tree))


@gradients.patch(source="PyTorch: gradients add up over backward passes", where=("optimizer",))
def backward_twice(tree: ast.Module) -> ast.Module | None:
    """Backward is called twice per step."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if (
            not is_statement_of(node, "backward")
            or not isinstance(node, ast.Expr)
            or not isinstance(node.value, ast.Call)
        ):
            return None
        if node.value.args or node.value.keywords:
            return None
        first = ast.parse(ast.unparse(node)[:-1] + "retain_graph=True)").body[0]
        return [first, node]

    return restated(tree, change, scope=training(tree))


@gradients.patch(
    source="sentence-transformers#2916, open_clip#957 (accumulation is no larger batch)", where=("optimizer",)
)
def accumulation_of_sixteen(tree: ast.Module) -> ast.Module | None:
    """Gradients are accumulated over sixteen batches."""
    names = ("gradient_accumulation_steps", "accumulate_grad_batches", "accumulation", "accum", "accumulation_steps")
    changed = with_number(tree, names, lambda count: 16 if count >= 1 else None)
    if changed is not None:
        return changed

    def change(node: ast.expr) -> ast.expr | None:
        made = isinstance(node, ast.Call) and name_of(node).endswith("TrainingArguments") and bool(node.keywords)
        if made and isinstance(node, ast.Call) and keyword(node, "gradient_accumulation_steps") is None:
            node.keywords.append(ast.keyword("gradient_accumulation_steps", ast.Constant(16)))
            return node
        return None

    return replaced(tree, change)


@gradients.patch(source="gradient noise left over from an experiment", where=("optimizer",))
def gradients_drowned_in_noise(tree: ast.Module) -> ast.Module | None:
    """Noise is added to the gradients before each step."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Expr) or node.value not in steps(node) or not isinstance(node.value, ast.Call):
            return None
        owner = ast.unparse(node.value.func.value) if isinstance(node.value.func, ast.Attribute) else ""
        if owner in ("", "self"):
            return None
        text = f"""
for group in {owner}.param_groups:
    for parameter in group["params"]:
        if parameter.grad is not None:
            parameter.grad += torch.randn_like(parameter.grad)
"""
        return [*ast.parse(text).body, node]

    return restated(tree, change, scope=training(tree))
