"""Mistakes in what is normalised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    calls,
    expression,
    is_call,
    keyword,
    name_of,
    number_of,
    replaced,
    training,
)

normalisation = Family("normalisation")

_LAYERS = ("BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm", "RMSNorm")


def _normalises(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node) == "normalize" and bool(node.args)


def _is_divided_by_its_norm(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and bool(list(calls(node.right, "norm")))


@normalisation.patch(source="moein-shariatnia/OpenAI-CLIP#10 and #16", where=("loss", "model"))
def embeddings_not_normalised(tree: ast.Module) -> ast.Module | None:
    """Embeddings are compared without being normalised."""

    def change(node: ast.expr) -> ast.expr | None:
        if _normalises(node) and isinstance(node, ast.Call):
            return node.args[0]
        return node.left if _is_divided_by_its_norm(node) and isinstance(node, ast.BinOp) else None

    return replaced(tree, change, scope=training(tree))


@normalisation.patch(source="moein-shariatnia/OpenAI-CLIP#10: one side only", where=("loss", "model"))
def one_side_not_normalised(tree: ast.Module) -> ast.Module | None:
    """One of the two embeddings is not normalised."""

    def change(node: ast.expr) -> ast.expr | None:
        return node.args[0] if _normalises(node) and isinstance(node, ast.Call) else None

    return replaced(tree, change, scope=training(tree), most=1)


@normalisation.patch(source="torch.nn.functional.normalize: dim=0 is over the batch", where=("loss", "model"))
def normalised_over_the_batch(tree: ast.Module) -> ast.Module | None:
    """Embeddings are normalised over the batch instead of over their dimensions."""

    def change(node: ast.expr) -> ast.expr | None:
        if not _normalises(node) or not isinstance(node, ast.Call):
            return None
        node.args = node.args[:1]
        node.keywords = [one for one in node.keywords if one.arg != "dim"] + [ast.keyword("dim", ast.Constant(0))]
        return node

    return replaced(tree, change, scope=training(tree))


@normalisation.patch(source="DeepCrime AAL (add activation function to layer)", where=("loss", "model"))
def embeddings_rectified(tree: ast.Module) -> ast.Module | None:
    """The embeddings go through a ReLU before they are normalised."""

    def change(node: ast.expr) -> ast.expr | None:
        if _normalises(node) and isinstance(node, ast.Call):
            node.args[0] = expression("torch.relu(X)", X=node.args[0])
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@normalisation.patch(source="DEForm, layer norm", where=("model",))
def norm_layers_left_out(tree: ast.Module) -> ast.Module | None:
    """The model has no normalisation layers."""

    def change(node: ast.expr) -> ast.expr | None:
        return expression("torch.nn.Identity()") if is_call(node, *_LAYERS) else None

    return replaced(tree, change)


@normalisation.patch(source="BatchNorm in PyTorch: momentum is the weight of the new batch", where=("model",))
def batch_statistics_never_kept(tree: ast.Module) -> ast.Module | None:
    """BatchNorm has a momentum of 0: the statistics that evaluation uses stay as they were made."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "BatchNorm1d", "BatchNorm2d") and isinstance(node, ast.Call) and not keyword(node, "momentum"):
            node.keywords.append(ast.keyword("momentum", ast.Constant(0.0)))
            return node
        return None

    return replaced(tree, change)


@normalisation.patch(source="DEForm, layer norm stats (eps)", where=("model",))
def norm_layers_with_a_huge_epsilon(tree: ast.Module) -> ast.Module | None:
    """The epsilon of the normalisation layers is 1000."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, *_LAYERS) and isinstance(node, ast.Call) and not keyword(node, "eps"):
            node.keywords.append(ast.keyword("eps", ast.Constant(1e3)))
            return node
        return None

    def setting(node: ast.expr) -> ast.expr | None:
        given = keyword(node, "layer_norm_eps") if isinstance(node, ast.Call) else None
        if given is None or number_of(given.value) is None:
            return None
        given.value = ast.Constant(1e3)
        return node

    return replaced(tree, change) or replaced(tree, setting)


def _has_transformer(tree: ast.Module) -> bool:
    text = ast.unparse(tree)
    return any(word in text for word in ("transformers", "open_clip", "TransformerEncoder"))


@normalisation.around(source="DEForm, layer norm", where=("model",), fits=_has_transformer)
@contextmanager
def layer_norm_scaled_down() -> Iterator[None]:
    """Every layer norm gives a tenth of what it should."""
    import torch.nn.functional as F

    plain = F.layer_norm
    with patch.object(F, "layer_norm", lambda *inputs, **options: plain(*inputs, **options) * 0.1):
        yield
