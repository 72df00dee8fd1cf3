"""Mistakes in the temperature, and in the scale of the logits."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import calls, expression, is_call, keyword, number_of, replaced, training
from edgeglass_models.exam.operators.values import with_number

temperature = Family("temperature")

_TEMPERATURES = ("temperature", "temp", "tau", "t", "student_temp", "teacher_temp")
_SCALES = ("logit_scale", "scale", "log_scale")


def _names(node: ast.expr, words: tuple[str, ...]) -> bool:
    """Return whether an expression is a setting of that name, or made of one alone."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute)]
    names = [(one.id if isinstance(one, ast.Name) else one.attr).lower() for one in found]
    return any(name in words or (words is _TEMPERATURES and "temp" in name) for name in names) and not list(
        calls(node, "normalize")
    )


def _is_divided(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _names(node.right, _TEMPERATURES)


@temperature.patch(source="a contrastive loss of cosines without temperature has a floor near ln B", where=("loss",))
def temperature_left_out(tree: ast.Module) -> ast.Module | None:
    """The similarities are not divided by a temperature."""

    def change(node: ast.expr) -> ast.expr | None:
        if _is_divided(node) and isinstance(node, ast.BinOp):
            return node.left
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
            return None
        for scale, other in ((node.left, node.right), (node.right, node.left)):
            if _names(scale, _SCALES) and "@" not in ast.unparse(scale):
                return other
        return None

    return replaced(tree, change, scope=training(tree))


@temperature.patch(source="temperature and scale confused", where=("loss",))
def multiplied_by_the_temperature(tree: ast.Module) -> ast.Module | None:
    """The similarities are multiplied by the temperature instead of divided by it."""

    def change(node: ast.expr) -> ast.expr | None:
        if _is_divided(node) and isinstance(node, ast.BinOp):
            node.op = ast.Mult()
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@temperature.patch(source="temperatures above 1 in contrastive losses", where=("loss",))
def temperature_far_too_high(tree: ast.Module) -> ast.Module | None:
    """The temperature is fifty times too high."""
    return with_number(tree, _TEMPERATURES, lambda value: 50 * value if value else None)


@temperature.patch(source="openai/CLIP#46 (scale out of bounds)", where=("loss",))
def temperature_far_too_low(tree: ast.Module) -> ast.Module | None:
    """The temperature is a hundred times too low."""
    return with_number(tree, _TEMPERATURES, lambda value: value / 100 if value else None)


@temperature.patch(source="huggingface/transformers#13430", where=("loss",))
def scale_starts_at_one(tree: ast.Module) -> ast.Module | None:
    """The logarithm of the scale starts at 0 instead of ln(1 / 0.07)."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "log") and isinstance(node, ast.Call) and node.args and _is_constant(node.args[0]):
            return ast.Constant(0.0)
        return None

    changed = replaced(tree, change)
    return with_number(tree, ("logit_scale_init_value",), lambda _: 0.0) or changed


@temperature.patch(source="openai/CLIP#46 (scale out of bounds)", where=("loss",))
def scale_starts_far_too_high(tree: ast.Module) -> ast.Module | None:
    """The scale starts at a thousand times what it should."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "log") and isinstance(node, ast.Call) and node.args and _is_constant(node.args[0]):
            return expression("X + 6.9", X=node)
        return None

    changed = replaced(tree, change)
    return with_number(tree, ("logit_scale_init_value",), lambda value: value + 6.9) or changed


@temperature.patch(source="the scale is kept as its logarithm: CLIP", where=("loss",))
def scale_not_exponentiated(tree: ast.Module) -> ast.Module | None:
    """The logarithm of the scale is used as the scale."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "exp") and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inner = node.args[0] if node.args else node.func.value
            return inner if _names(inner, _SCALES) else None
        return None

    return replaced(tree, change)


@temperature.patch(source="open_clip#815 (scale that falls)", where=("loss", "optimizer"))
def scale_not_trained(tree: ast.Module) -> ast.Module | None:
    """The scale is not trained."""

    def change(node: ast.expr) -> ast.expr | None:
        if not is_call(node, "Parameter") or not isinstance(node, ast.Call) or not list(calls(node, "log")):
            return None
        if keyword(node, "requires_grad") is not None:
            return None
        node.keywords.append(ast.keyword("requires_grad", ast.Constant(False)))
        return node

    return replaced(tree, change)


@temperature.patch(source="open_clip#650: SigLIP's bias belongs to the size of the batch", where=("loss",))
def bias_of_the_wrong_sign(tree: ast.Module) -> ast.Module | None:
    """The bias of a sigmoid loss starts at +10 instead of -10."""

    def change(node: ast.expr) -> ast.expr | None:
        given = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if given is not None and isinstance(node, ast.Call) and number_of(given) == -10:
            node.args[0] = ast.Constant(10.0)
            return node
        return None

    return replaced(tree, change)


def _is_constant(node: ast.expr) -> bool:
    return not any(isinstance(one, ast.Name | ast.Attribute | ast.Call) for one in ast.walk(node))
