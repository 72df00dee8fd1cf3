"""Mistakes in the loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    expression,
    is_call,
    keyword,
    name_of,
    number_of,
    replaced,
    restated,
    training,
)
from edgeglass_models.exam.operators.values import LOSSES, with_logits, with_loss, with_number

losses = Family("losses")

_FIRST_WEIGHTS = ("contrastive_loss_weight", "coca_contrastive_loss_weight", "itc_weight")
_SECOND_WEIGHTS = ("caption_loss_weight", "coca_caption_loss_weight", "itm_weight", "alpha")
_CONTRASTS = ("cross_entropy", "info_nce", "nt_xent", "contrastive", "clip_loss")


@losses.patch(source="ariecattan/SciCo#2; cross_entropy takes logits", where=("loss",))
def double_softmax(tree: ast.Module) -> ast.Module | None:
    """The logits go through a softmax before cross_entropy."""
    return with_logits(tree, lambda logits: expression("X.softmax(-1)", X=logits))


@losses.patch(source="a maximised similarity minimised: the sign of the loss", where=("loss",))
def sign_flipped(tree: ast.Module) -> ast.Module | None:
    """The loss has the wrong sign."""
    return with_loss(tree, lambda loss: expression("-X", X=loss))


@losses.patch(source="a loss scaled by hand for mixed precision or logging", where=("loss", "optimizer"))
def loss_far_too_small(tree: ast.Module) -> ast.Module | None:
    """The loss is multiplied by 1e-6."""
    return with_loss(tree, lambda loss: expression("X * 1e-6", X=loss))


@losses.patch(source="a loss scaled by hand for mixed precision or logging", where=("loss", "optimizer"))
def loss_far_too_large(tree: ast.Module) -> ast.Module | None:
    """The loss is multiplied by 1000."""
    return with_loss(tree, lambda loss: expression("X * 1000", X=loss))


@losses.patch(source="open_clip PR#419 (a term with weight zero)", where=("loss",))
def loss_of_weight_zero(tree: ast.Module) -> ast.Module | None:
    """The weight of the loss is zero."""
    return with_loss(tree, lambda loss: expression("X * 0.0", X=loss))


@losses.patch(source="early stopping by a loss that is clamped", where=("loss",))
def loss_clamped(tree: ast.Module) -> ast.Module | None:
    """The loss is clamped to at most 1, and has no gradient above."""
    return with_loss(tree, lambda loss: expression("X.clamp(max=1.0)", X=loss))


@losses.patch(source="big_vision#115 (sum and mean confused)", where=("loss",))
def sum_instead_of_mean(tree: ast.Module) -> ast.Module | None:
    """The loss is summed over the batch instead of averaged."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "cross_entropy") and isinstance(node, ast.Call) and keyword(node, "reduction") is None:
            node.keywords.append(ast.keyword("reduction", ast.Constant("sum")))
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@losses.patch(source="big_vision#115 (sum and mean confused)", where=("loss",))
def mean_over_all_pairs(tree: ast.Module) -> ast.Module | None:
    """The loss is averaged over all pairs where it is to be summed over the candidates."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div) or not is_call(node.right, "len"):
            return None
        total = node.left.operand if isinstance(node.left, ast.UnaryOp) else node.left
        if is_call(total, "sum") and isinstance(total, ast.Call) and isinstance(total.func, ast.Attribute):
            mean = expression("X.mean()", X=total.func.value)
            return mean if total is node.left else ast.UnaryOp(ast.USub(), mean)
        return None

    return replaced(tree, change, scope=training(tree))


def _halves(node: ast.expr) -> ast.BinOp | None:
    """Return the sum of two calls of one function of which a loss is the half, None for anything else."""
    if not isinstance(node, ast.BinOp):
        return None
    half = isinstance(node.op, ast.Div) and number_of(node.right) == 2
    half |= isinstance(node.op, ast.Mult) and 0.5 in (number_of(node.left), number_of(node.right))
    for one in (node.left, node.right) if half else ():
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Add) and name_of(one.left) == name_of(one.right) != "":
            return one
    return None


@losses.patch(source="CLIP's loss has two directions", where=("loss",))
def one_direction_only(tree: ast.Module) -> ast.Module | None:
    """Only one of the two directions of the contrastive loss is computed."""

    def change(node: ast.expr) -> ast.expr | None:
        both = _halves(node)
        return None if both is None else both.left

    return replaced(tree, change, scope=training(tree))


def _sums(tree: ast.Module) -> Iterator[ast.BinOp]:
    """Yield the sums of which losses are made: assigned to a name with loss in it, or returned by a loss."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "loss" in name_of(node.targets[0]):
            value = node.value
        elif isinstance(node, ast.FunctionDef) and ("loss" in node.name or node.name == "training_step"):
            value = next(
                (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value), ast.Constant(0)
            )
        else:
            continue
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            yield value


@losses.patch(source="open_clip PR#419 (a term never computed)", where=("loss",))
def a_term_forgotten(tree: ast.Module) -> ast.Module | None:
    """One term of the loss has the weight zero."""
    found = list(_sums(tree))
    for one in found:
        one.right = expression("X * 0.0", X=one.right)
    return tree if found else with_number(tree, _SECOND_WEIGHTS, lambda weight: 0.0 if weight else None)


@losses.patch(source="the weights of two terms swapped", where=("loss",))
def the_first_term_forgotten(tree: ast.Module) -> ast.Module | None:
    """The first term of the loss has the weight zero."""
    found = list(_sums(tree))
    for one in found:
        one.left = expression("X * 0.0", X=one.left)
    return tree if found else with_number(tree, _FIRST_WEIGHTS, lambda weight: 0.0 if weight else None)


@losses.patch(source="terms of different scale added without weights", where=("loss",))
def a_term_drowns_the_others(tree: ast.Module) -> ast.Module | None:
    """One term of the loss has a weight of a thousand."""
    found = list(_sums(tree))
    for one in found:
        one.right = expression("X * 1000.0", X=one.right)
    return tree if found else with_number(tree, _SECOND_WEIGHTS, lambda weight: 1000 * weight if weight else None)


@losses.patch(source="DeepCrime LCH (change loss function)", where=("loss",))
def squared_error_on_classes(tree: ast.Module) -> ast.Module | None:
    """Squared error to one-hot targets instead of cross-entropy."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Call) and name_of(node) in LOSSES and len(node.args) == 2:
            text = "torch.nn.functional.mse_loss(X, torch.nn.functional.one_hot(Y, X.shape[-1]).float())"
            return expression(text, X=node.args[0], Y=node.args[1])
        return None

    return replaced(tree, change, scope=training(tree))


@losses.patch(source="softmax over the wrong dimension: implicit dim and dim=0", where=("loss", "model"))
def softmax_over_the_batch(tree: ast.Module) -> ast.Module | None:
    """A softmax runs over the batch instead of the candidates."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call) or name_of(node) not in ("softmax", "log_softmax"):
            return None
        dim = keyword(node, "dim")
        if dim is not None:
            dim.value = ast.Constant(0)
            return node
        if node.args and number_of(node.args[-1]) in (-1, 1):
            node.args[-1] = ast.Constant(0)
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@losses.patch(source="torch.nn.functional.kl_div: input and target are easily swapped", where=("loss",))
def divergence_with_swapped_arguments(tree: ast.Module) -> ast.Module | None:
    """The arguments of kl_div are swapped."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "kl_div", "KLDivLoss") and isinstance(node, ast.Call) and len(node.args) >= 2:
            node.args[:2] = [node.args[1], node.args[0]]
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@losses.patch(source="torch.nn.functional.kl_div expects log-probabilities", where=("loss",))
def divergence_of_probabilities(tree: ast.Module) -> ast.Module | None:
    """kl_div and nll_loss are given probabilities instead of their logarithms."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "log_softmax") and isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                function.attr = "softmax"
                return node
        return None

    return replaced(tree, change, scope=training(tree))


@losses.patch(source="triplet losses with a margin of zero collapse", where=("loss",))
def margin_of_zero(tree: ast.Module) -> ast.Module | None:
    """The margin is zero."""
    return with_number(tree, ("margin",), lambda margin: 0.0 if margin else None)


@losses.patch(source="a margin beyond what normalised embeddings can reach", where=("loss",))
def margin_out_of_reach(tree: ast.Module) -> ast.Module | None:
    """The margin is larger than any distance."""
    return with_number(tree, ("margin",), lambda margin: 50.0 if margin else None)


@losses.patch(source="sentence-transformers#3469 (positives alone)", where=("loss",))
def positives_alone(tree: ast.Module) -> ast.Module | None:
    """Nothing but the similarity of the pairs is maximised: there are no negatives."""

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        value = getattr(node, "value", None)
        if not isinstance(node, ast.Assign | ast.Return) or not isinstance(value, ast.Call):
            return None
        if name_of(value) in _CONTRASTS and value.args:
            node.value = expression("-X.diagonal().mean()", X=value.args[0])
            return [node]
        return None

    def halves(node: ast.expr) -> ast.expr | None:
        both = _halves(node)
        if both is None or not isinstance(both.left, ast.Call) or name_of(both.left) not in _CONTRASTS:
            return None
        return expression("-X.diagonal().mean()", X=both.left.args[0])

    return replaced(tree, halves, scope=training(tree)) or restated(tree, change, scope=training(tree))
