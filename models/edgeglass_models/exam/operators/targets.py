"""Mistakes in labels and targets."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import expression, is_call, name_of, number_of, replaced, training
from edgeglass_models.exam.operators.values import with_labels

targets = Family("targets")


@targets.patch(source="labels that a collate function forgot to fill", where=("loss", "data"))
def labels_all_the_same(tree: ast.Module) -> ast.Module | None:
    """All labels are zero."""
    return with_labels(tree, lambda labels: expression("torch.zeros_like(X)", X=labels))


@targets.patch(source="lightly PR#1177 (labels offset by rank)", where=("loss", "data"))
def labels_offset(tree: ast.Module) -> ast.Module | None:
    """The labels are those of the next row."""
    return with_labels(tree, lambda labels: expression("X.roll(1)", X=labels))


@targets.patch(source="DeepCrime TCL (change labels of training data)", where=("loss", "data"))
def labels_at_random(tree: ast.Module) -> ast.Module | None:
    """The labels of each batch are shuffled."""
    return with_labels(tree, lambda labels: expression("(lambda y: y[torch.randperm(len(y))])(X)", X=labels))


@targets.patch(source="DeepCrime TCL (change labels of training data)", where=("loss", "data"))
def half_of_the_labels_wrong(tree: ast.Module) -> ast.Module | None:
    """Half of the labels are wrong."""
    text = "(lambda y: torch.where(torch.rand(y.shape) < 0.5, y.roll(1), y))(X)"
    return with_labels(tree, lambda labels: expression(text, X=labels))


@targets.patch(source="DeepCrime TCO (make output classes overlap)", where=("loss", "data"))
def two_classes_in_one(tree: ast.Module) -> ast.Module | None:
    """Each two classes have the same label."""
    return with_labels(tree, lambda labels: expression("X // 2 * 2", X=labels))


@targets.patch(
    source="DeepCrime TUD (unbalance training data); a sampler that favours one class", where=("loss", "data")
)
def nine_tenths_of_one_class(tree: ast.Module) -> ast.Module | None:
    """Nine of ten labels are those of the first class."""
    text = "(lambda y: torch.where(torch.rand(y.shape) < 0.9, torch.zeros_like(y), y))(X)"
    return with_labels(tree, lambda labels: expression(text, X=labels))


@targets.patch(source="google-research/big_vision: SigLIP's labels are 1 and -1", where=("loss",))
def labels_of_zero_for_minus_one(tree: ast.Module) -> ast.Module | None:
    """Negatives have the label 0 instead of -1, so that they do not count."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub):
            return None
        product = node.left
        if isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult) and number_of(product.left) == 2:
            return product.right if is_call(product.right, "eye", "float") else None
        return None

    return replaced(tree, change, scope=training(tree))


@targets.patch(source="SimCLR: similarities of a view to itself are masked", where=("loss",))
def similarity_to_itself_not_masked(tree: ast.Module) -> ast.Module | None:
    """The similarity of each view to itself is not masked out."""

    def change(node: ast.expr) -> ast.expr | None:
        if not is_call(node, "masked_fill", "masked_fill_") or not isinstance(node, ast.Call):
            return None
        value = ast.unparse(node.args[-1])
        low = "inf" in value or (number_of(node.args[-1]) or 0) < -1e3
        return node.func.value if low and isinstance(node.func, ast.Attribute) else None

    return replaced(tree, change, scope=training(tree))


@targets.patch(source="targets that are computed by the model and follow it: OpenAI-CLIP#27 and #24", where=("loss",))
def regression_target_is_the_batch_mean(tree: ast.Module) -> ast.Module | None:
    """The targets of a regression lost their rows: each is the mean of the batch."""

    def change(node: ast.expr) -> ast.expr | None:
        named = name_of(node) in ("mse_loss", "cosine_similarity", "cosine_embedding_loss", "smooth_l1_loss")
        if named and isinstance(node, ast.Call) and len(node.args) >= 2:
            node.args[1] = expression("(lambda y: y.mean(0, keepdim=True).expand_as(y))(X)", X=node.args[1])
            return node
        return None

    return replaced(tree, change, scope=training(tree))
