"""Mistakes in the layers of the model."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import expression, is_call, keyword, name_of, number_of, replaced
from edgeglass_models.exam.operators.values import with_number

architecture = Family("architecture")

_ACTIVATIONS = ("ReLU", "GELU", "SiLU", "LeakyReLU", "ELU")
_FUNCTIONS = ("relu", "gelu", "silu")
_DROPOUTS = (
    "dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "drop", "drop_rate",
    "dropout_p", "lora_dropout",
)  # fmt: skip
_WIDTHS = ("projection_dim", "embed_dim", "proj_dim", "out_dim", "dim_out", "embedding_dim", "dim")


@architecture.patch(source="DeepCrime ARM (remove activation function)", where=("model",))
def activations_left_out(tree: ast.Module) -> ast.Module | None:
    """There are no activation functions between the layers."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, *_ACTIVATIONS):
            return expression("torch.nn.Identity()")
        return node.args[0] if is_call(node, *_FUNCTIONS) and isinstance(node, ast.Call) and node.args else None

    return replaced(tree, change)


@architecture.patch(source="DeepCrime ACH (change activation function)", where=("model",))
def sigmoids_between_the_layers(tree: ast.Module) -> ast.Module | None:
    """Sigmoids between the layers instead of ReLUs."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, *_ACTIVATIONS):
            return expression("torch.nn.Sigmoid()")
        if is_call(node, *_FUNCTIONS) and isinstance(node, ast.Call) and node.args:
            return expression("torch.sigmoid(X)", X=node.args[0])
        return None

    return replaced(tree, change)


@architecture.patch(source="DeepCrime RCD (change dropout rate)", where=("model",))
def dropout_of_nine_tenths(tree: ast.Module) -> ast.Module | None:
    """Dropout takes away nine tenths."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "Dropout") and isinstance(node, ast.Call) and node.args:
            node.args[0] = ast.Constant(0.9)
            return node
        return None

    changed = replaced(tree, change)
    return with_number(tree, _DROPOUTS, lambda _: 0.9) or changed


@architecture.patch(source="keep probability and dropout rate confused", where=("model",))
def embeddings_dropped_out(tree: ast.Module) -> ast.Module | None:
    """The embeddings go through a dropout of 0.9 before they are normalised."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "normalize") and isinstance(node, ast.Call) and node.args:
            node.args[0] = expression("torch.nn.functional.dropout(X, 0.9)", X=node.args[0])
            return node
        return None

    return replaced(tree, change)


@architecture.patch(source="DEForm residual drop", where=("model",))
def residual_left_out(tree: ast.Module) -> ast.Module | None:
    """The residual connections are missing."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and isinstance(node.left, ast.Name):
            inside = {one.id for one in ast.walk(node.right) if isinstance(one, ast.Name)}
            return node.right if isinstance(node.right, ast.Call) and node.left.id in inside else None
        return None

    return replaced(tree, change)


@architecture.patch(source="DEForm positional missing", where=("model",))
def positions_left_out(tree: ast.Module) -> ast.Module | None:
    """The position embeddings are not added."""

    def change(node: ast.expr) -> ast.expr | None:
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Add)
            and "pos" in name_of(_inner(node.right)).lower()
        ):
            return node.left
        return None

    return replaced(tree, change)


def _inner(node: ast.expr) -> ast.expr:
    """Return what is sliced."""
    return _inner(node.value) if isinstance(node, ast.Subscript) else node


@architecture.patch(source="DeepCrime WRB (remove bias)", where=("model",))
def biases_left_out(tree: ast.Module) -> ast.Module | None:
    """The linear layers have no biases."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "Linear") and isinstance(node, ast.Call) and len(node.args) == 2 and not keyword(node, "bias"):
            node.keywords.append(ast.keyword("bias", ast.Constant(False)))
            return node
        return None

    return replaced(tree, change)


@architecture.patch(source="a width mistaken for a number of layers or heads", where=("model", "loss"))
def embeddings_of_two_dimensions(tree: ast.Module) -> ast.Module | None:
    """The embeddings have two dimensions."""
    return with_number(tree, _WIDTHS, lambda width: 2 if width >= 16 else None)


@architecture.patch(source="mean over the wrong axis", where=("model",))
def pooled_over_the_batch(tree: ast.Module) -> ast.Module | None:
    """The mean over the tokens is taken over the batch."""

    def change(node: ast.expr) -> ast.expr | None:
        if not is_call(node, "mean") or not isinstance(node, ast.Call):
            return None
        given = keyword(node, "dim")
        axis = given.value if given is not None else node.args[-1] if node.args else None
        if axis is None or number_of(axis) not in (1, -2):
            return None
        owner = node.func.value if isinstance(node.func, ast.Attribute) else node.args[0]
        return expression("X.mean(0, keepdim=True).expand_as(X).mean(1)", X=owner)

    return replaced(tree, change)
