"""Mistakes in what belongs together."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.data import changed_images
from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import expression, name_of, replaced, statement, training, training_loops

pairing = Family("pairing")

_TEXTS = ("ids", "input_ids", "texts", "tokens", "captions", "text")
_IMAGES = ("images", "pixels", "pixel_values", "image", "pictures")


def changed_captions(tree: ast.Module, text: str) -> ast.Module | None:
    """Return the tree with ``.captions`` of a data set replaced by an expression of X, in training and evaluation."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Attribute) and node.attr == "captions" and isinstance(node.ctx, ast.Load):
            return None if name_of(node.value) == "self" else expression(text, X=node)
        return None

    return replaced(tree, change)


@pairing.patch(source="mispaired captions: a table whose header was counted", where=("data", "loss"))
def captions_off_by_one(tree: ast.Module) -> ast.Module | None:
    """Each caption stands beside the picture of the next row."""
    return changed_captions(tree, "(X[1:] + X[:1])")


@pairing.patch(source="mispaired captions, as web-crawled pairs have them", where=("data", "loss"))
def half_of_the_captions_swapped(tree: ast.Module) -> ast.Module | None:
    """Half of the captions belong to another picture."""
    return changed_captions(tree, "[X[i ^ 3 if i % 4 in (1, 2) else i] for i in range(len(X))]")


@pairing.patch(source="sentence-transformers#3189, LAVIS#285 (duplicate captions)", where=("data", "loss"))
def captions_without_their_first_words(tree: ast.Module) -> ast.Module | None:
    """Captions lose all but their last two words, so that many are the same."""
    return changed_captions(tree, "[' '.join(x.split()[-2:]) for x in X]")


@pairing.patch(source="mispaired captions: one of two lists was shuffled", where=("data", "loss"))
def pictures_shuffled_alone(tree: ast.Module) -> ast.Module | None:
    """The pictures of the data set are shuffled and the captions are not."""
    if "captions" not in ast.unparse(tree):
        return None
    return changed_images(tree, "X[torch.randperm(len(X))]")


def _shuffled_in_loop(tree: ast.Module, names: tuple[str, ...]) -> ast.Module | None:
    """Return the tree with one side of each batch permuted at the beginning of the training loop."""
    found = False
    for loop in training_loops(tree):
        targets = (
            [one.id for one in ast.walk(loop.target) if isinstance(one, ast.Name)] if isinstance(loop, ast.For) else []
        )
        for name in targets:
            if name in names and len(targets) > 1:
                loop.body.insert(0, statement(f"{name} = {name}[torch.randperm(len({name}))]"))
                found = True
    return tree if found else None


@pairing.patch(source="mispaired captions: in-place shuffling of one side of the batch", where=("data", "loss"))
def texts_shuffled_in_the_batch(tree: ast.Module) -> ast.Module | None:
    """The texts of each batch are permuted, the pictures are not."""
    return _shuffled_in_loop(tree, _TEXTS)


@pairing.patch(source="mispaired captions: in-place shuffling of one side of the batch", where=("data", "loss"))
def pictures_shuffled_in_the_batch(tree: ast.Module) -> ast.Module | None:
    """The pictures of each batch are permuted, the texts or labels are not."""
    return _shuffled_in_loop(tree, _IMAGES)


@pairing.patch(
    source="SimCLR: the positive is another view of the same picture; an index shared by two loaders",
    where=("data", "loss"),
)
def views_of_different_pictures(tree: ast.Module) -> ast.Module | None:
    """The second view is that of another picture."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and _same_calls(*node.elts):
            node.elts[1] = expression("X.roll(1, 0)", X=node.elts[1])
            return node
        if (
            isinstance(node, ast.Call)
            and len(node.keywords) == 2
            and _same_calls(*(one.value for one in node.keywords))
        ):
            node.keywords[1].value = expression("X.roll(1, 0)", X=node.keywords[1].value)
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@pairing.patch(source="lightly#1177: rows of the two sides offset against each other", where=("loss", "data"))
def embeddings_offset(tree: ast.Module) -> ast.Module | None:
    """One side of the similarity matrix is rolled by one row."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult) and _is_transposed(node.right):
            node.left = expression("X.roll(1, 0)", X=node.left)
            return node
        return None

    return replaced(tree, change, scope=training(tree))


def _same_calls(one: ast.expr, other: ast.expr) -> bool:
    return isinstance(one, ast.Call) and bool(one.args) and ast.unparse(one) == ast.unparse(other)


def _is_transposed(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in ("T", "mT")
    return isinstance(node, ast.Call) and name_of(node) in ("t", "transpose")
