"""Ways to find and replace expressions and statements in the tree of a program."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Container, Iterator
from typing import cast

Change = Callable[[ast.expr], ast.expr | None]
"""Returns what stands for an expression, None where it stays."""

StatementChange = Callable[[ast.stmt], list[ast.stmt] | None]
"""Returns what stands for a statement, None where it stays."""

_EVALUATION = ("eval", "test", "recall", "knn", "accuracy", "measure", "embed", "metric", "score", "r2", "validat")


def expression(text: str, **parts: ast.expr) -> ast.expr:
    """Return an expression in whose text names stand for other expressions.

    >>> ast.unparse(expression("2 * X.T", X=ast.parse("a + b", mode="eval").body))
    '2 * (a + b).T'
    """
    made = ast.parse(text, mode="eval").body
    return cast(ast.expr, _Substitution(parts).visit(made))


def statement(text: str, **parts: ast.expr) -> ast.stmt:
    """Return one statement in whose text names stand for expressions."""
    return cast(ast.stmt, _Substitution(parts).visit(ast.parse(text).body[0]))


class _Substitution(ast.NodeTransformer):
    def __init__(self, parts: dict[str, ast.expr]) -> None:
        self._parts = parts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._parts[node.id]) if node.id in self._parts else node


def name_of(node: ast.AST) -> str:
    """Return the last name of a call, attribute or name: ``step`` of ``optimizer.step()``; empty for others."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def path_of(node: ast.AST) -> str:
    """Return the dotted names of a call, attribute or name: ``F.normalize``; empty for others.

    >>> path_of(ast.parse("torch.optim.AdamW(x)", mode="eval").body)
    'torch.optim.AdamW'
    """
    if isinstance(node, ast.Call):
        return path_of(node.func)
    if isinstance(node, ast.Attribute):
        inner = path_of(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_call(node: ast.AST, *names: str) -> bool:
    """Return whether a node is a call of one of these functions or methods."""
    return isinstance(node, ast.Call) and name_of(node) in names


def calls(node: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Yield the calls of these functions or methods below a node."""
    for found in ast.walk(node):
        if isinstance(found, ast.Call) and name_of(found) in names:
            yield found


def keyword(call: ast.Call, *names: str) -> ast.keyword | None:
    """Return the first keyword of a call with one of these names."""
    return next((given for given in call.keywords if given.arg in names), None)


def number_of(node: ast.AST) -> float | None:
    """Return the number that a node writes down, None for everything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number_of(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    return None


def replaced(
    tree: ast.Module, change: Change, *, most: int = 0, scope: Container[int] | None = None
) -> ast.Module | None:
    """Return the tree with expressions replaced; None where none is.

    Args:
        tree: of the program.
        change: is asked for each expression, the innermost first.
        most: how many are replaced at most, 0 for all.
        scope: ids of the nodes that may be replaced, all where None.
    """
    rewriter = _Rewriter(change, most, scope)
    rewriter.visit(tree)
    return tree if rewriter.count else None


class _Rewriter(ast.NodeTransformer):
    def __init__(self, change: Change, most: int, scope: Container[int] | None) -> None:
        self._change, self._most, self._scope = change, most, scope
        self.count = 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        inside = self._scope is None or id(node) in self._scope
        super().generic_visit(node)
        if not isinstance(node, ast.expr) or not inside or (self._most and self.count >= self._most):
            return node
        made = self._change(node)
        if made is None:
            return node
        self.count += 1
        return ast.copy_location(made, node)


def restated(
    tree: ast.Module, change: StatementChange, *, most: int = 0, scope: Container[int] | None = None
) -> ast.Module | None:
    """Return the tree with statements replaced by others or by none; None where none is."""
    count = 0
    for node in list(ast.walk(tree)):
        for block in _blocks(node):
            made: list[ast.stmt] = []
            for one in block:
                inside = scope is None or id(one) in scope
                new = change(one) if inside and not (most and count >= most) else None
                count += new is not None
                made += [one] if new is None else new
            block[:] = made or [ast.Pass()]
    return tree if count else None


def _blocks(node: ast.AST) -> list[list[ast.stmt]]:
    return [block for name in ("body", "orelse", "finalbody") if isinstance(block := getattr(node, name, None), list)]


def training(tree: ast.Module) -> set[int]:
    """Return the ids of all nodes that do not lie in code that evaluates.

    That is a function whose name says so or that runs without gradients, and a block under ``no_grad``.
    """
    apart: set[int] = set()
    for node in ast.walk(tree):
        if _evaluates(node):
            apart |= {id(inner) for inner in ast.walk(node)}
    return {id(node) for node in ast.walk(tree)} - apart


def evaluation(tree: ast.Module) -> set[int]:
    """Return the ids of all nodes that lie in code that evaluates."""
    return {id(node) for node in ast.walk(tree)} - training(tree)


def _evaluates(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef):
        named = any(word in node.name.lower() for word in _EVALUATION)
        return named or any(name_of(one) in ("no_grad", "inference_mode") for one in node.decorator_list)
    if isinstance(node, ast.With):
        return any(name_of(item.context_expr) in ("no_grad", "inference_mode") for item in node.items)
    return False


def training_loops(tree: ast.Module) -> list[ast.For | ast.While]:
    """Return the innermost loops that call ``step`` of an optimizer."""
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While) and steps(node)]
    return [loop for loop in loops if not any(one is not loop and one in loops for one in ast.walk(loop))]


def steps(node: ast.AST) -> list[ast.Call]:
    """Return the calls below a node by which optimizers step, those of schedulers left out."""
    return [call for call in calls(node, "step") if not _is_scheduler(path_of(call))]


def _is_scheduler(path: str) -> bool:
    return "sched" in path or path.split(".")[0] in ("sch", "lr", "warmup")


def is_scheduler_step(node: ast.AST) -> bool:
    """Return whether a node is the step of a learning-rate scheduler."""
    return is_call(node, "step") and _is_scheduler(path_of(node))


def is_statement_of(node: ast.stmt, *names: str) -> bool:
    """Return whether a statement is nothing but a call of one of these functions or methods."""
    return isinstance(node, ast.Expr) and is_call(node.value, *names)
