"""Mistakes in the values that training begins with."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import calls, expression, is_call, replaced
from edgeglass_models.exam.operators.values import after_model

initialisation = Family("initialisation")


def _of_matrices(tree: ast.Module, text: str) -> ast.Module | None:
    """Return the tree with all trained weight matrices of a new model changed, each called weight."""
    loop = f"""
for weight in MODEL.parameters():
    if weight.ndim > 1 and weight.requires_grad:
        {text}
"""
    return after_model(tree, loop)


@initialisation.patch(source="DeepCrime WCI (change weights initialisation: constant)", where=("model",))
def weights_constant(tree: ast.Module) -> ast.Module | None:
    """All weight matrices start with one constant."""
    return _of_matrices(tree, "torch.nn.init.constant_(weight, 0.02)")


@initialisation.patch(source="DeepCrime WCI (change weights initialisation: zeros)", where=("model",))
def weights_zero(tree: ast.Module) -> ast.Module | None:
    """All weight matrices start with zeros."""
    return _of_matrices(tree, "torch.nn.init.zeros_(weight)")


@initialisation.patch(source="DeepCrime WCI (change weights initialisation)", where=("model",))
def weights_ten_times_too_large(tree: ast.Module) -> ast.Module | None:
    """All weight matrices start ten times too large."""
    return _of_matrices(tree, "weight.data.mul_(10)")


@initialisation.patch(source="DeepCrime WCI (change weights initialisation)", where=("model",))
def weights_far_too_small(tree: ast.Module) -> ast.Module | None:
    """All weight matrices start a hundred times too small."""
    return _of_matrices(tree, "weight.data.mul_(0.01)")


@initialisation.patch(source="rows of a weight that are all the same: symmetry", where=("model",))
def rows_all_the_same(tree: ast.Module) -> ast.Module | None:
    """All rows of each weight matrix start the same."""
    return _of_matrices(tree, "weight.data.copy_(weight.data[:1].expand_as(weight))")


@initialisation.patch(source="LAVT-RIS#25 (two stacked layers of zeros)", where=("model",))
def last_two_matrices_zero(tree: ast.Module) -> ast.Module | None:
    """The last two weight matrices start with zeros."""
    text = """
for weight in [one for one in MODEL.parameters() if one.ndim > 1 and one.requires_grad][-2:]:
    torch.nn.init.zeros_(weight)
"""
    return after_model(tree, text)


@initialisation.patch(source="DeepCrime WAB (add bias), dead ReLUs", where=("model",))
def biases_far_below_zero(tree: ast.Module) -> ast.Module | None:
    """The biases start at -5."""
    text = """
for name, bias in MODEL.named_parameters():
    if name.endswith("bias") and bias.requires_grad:
        torch.nn.init.constant_(bias, -5.0)
"""
    return after_model(tree, text)


@initialisation.patch(source="huggingface/transformers#31151 (latents of ones)", where=("model",))
def learned_queries_of_ones(tree: ast.Module) -> ast.Module | None:
    """Learned latents, queries or positions start as ones."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "Parameter") and isinstance(node, ast.Call) and list(calls(node, "randn", "rand", "empty")):
            node.args[0] = expression("torch.ones_like(X)", X=node.args[0])
            return node
        return None

    return replaced(tree, change)


@initialisation.patch(source="torch.rand where torch.randn was meant", where=("model",))
def weights_all_positive(tree: ast.Module) -> ast.Module | None:
    """The weights are drawn from 0 to 0.1 instead of around 0."""
    return _of_matrices(tree, "torch.nn.init.uniform_(weight, 0.0, 0.1)")
