"""Ways to find and replace what programs write down as numbers, and the loss that goes backward."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection

from edgeglass_models.exam.operators.patching import name_of, number_of, replaced, training

ChangeNumber = Callable[[float], float | None]
"""Returns what stands for a number, None where it stays."""

MODELS = ("model", "net", "student", "learner", "encoder", "module", "moco", "dual")


def with_number(tree: ast.Module, names: Collection[str], change: ChangeNumber) -> ast.Module | None:
    """Return the tree with the numbers of some settings replaced; None where none is.

    A setting is a variable or constant, an argument by keyword, the default of a parameter or of an option of the
    command line.

    Args:
        tree: of the program.
        names: of the setting, in small letters.
        change: gives the new number.
    """
    numbers = _Numbers(names, change)
    numbers.visit(tree)
    return tree if numbers.count else None


class _Numbers(ast.NodeVisitor):
    def __init__(self, names: Collection[str], change: ChangeNumber) -> None:
        self._names, self._change = names, change
        self.count = 0

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for one, value in zip(names, values, strict=False):
                if self._named(name_of(one)):
                    self._replace(value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._named(name_of(node.target)) and node.value is not None:
            self._replace(node.value)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg is not None and self._named(node.arg):
            self._replace(node.value)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and self._named(str(key.value)):
                self._replace(value)
        self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> None:
        placed = [*node.posonlyargs, *node.args]
        last = placed[len(placed) - len(node.defaults) :]
        pairs = [*zip(last, node.defaults, strict=True), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        for argument, value in pairs:
            if value is not None and self._named(argument.arg):
                self._replace(value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if name_of(node) == "add_argument" and node.args and isinstance(node.args[0], ast.Constant):
            option = str(node.args[0].value).lstrip("-").replace("-", "_")
            for given in node.keywords:
                if given.arg == "default" and self._named(option):
                    self._replace(given.value)
        self.generic_visit(node)

    def _named(self, name: str) -> bool:
        return name.lower() in self._names

    def _replace(self, value: ast.expr) -> None:
        number = number_of(value)
        new = None if number is None else self._change(number)
        if new is None or not isinstance(value, ast.Constant):
            return
        value.value = int(new) if isinstance(value.value, int) and float(new).is_integer() else new
        self.count += 1


def with_loss(tree: ast.Module, change: Callable[[ast.expr], ast.expr]) -> ast.Module | None:
    """Return the tree with the loss that goes backward replaced; None where it is not in sight.

    It is what ``backward`` is called on or given, and what ``training_step`` and ``compute_loss`` return.
    """
    found = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.endswith("backward"):
            if node.args:
                node.args[0] = change(node.args[0])
            else:
                node.func.value = change(node.func.value)
            found = True
        if isinstance(node, ast.FunctionDef) and node.name in ("training_step", "compute_loss"):
            found |= _returned(node, change)
    return tree if found else None


def _returned(function: ast.FunctionDef, change: Callable[[ast.expr], ast.expr]) -> bool:
    found = False
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Name | ast.Call | ast.BinOp):
            node.value = change(node.value)
            found = True
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.IfExp):
            node.value.orelse = change(node.value.orelse)
            found = True
    return found


LOSSES = (
    "cross_entropy",
    "criterion",
    "loss_fn",
    "ce",
    "loss_func",
    "criterion_ce",
    "classification_loss",
    "loss_function",
)
"""What losses of logits and labels are called."""


def with_labels(tree: ast.Module, change: Callable[[ast.expr], ast.expr]) -> ast.Module | None:
    """Return the tree with the labels of its losses replaced: the second argument of what ``LOSSES`` names."""

    def one(node: ast.expr) -> ast.expr | None:
        if _is_loss(node) and isinstance(node, ast.Call) and len(node.args) == 2:
            node.args[1] = change(node.args[1])
            return node
        return None

    return replaced(tree, one, scope=training(tree))


def with_logits(tree: ast.Module, change: Callable[[ast.expr], ast.expr]) -> ast.Module | None:
    """Return the tree with the logits of its cross-entropies replaced: the first argument."""

    def one(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Call) and node.args and _is_cross_entropy(node, tree):
            node.args[0] = change(node.args[0])
            return node
        return None

    return replaced(tree, one, scope=training(tree))


def _is_loss(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node) in LOSSES


def _is_cross_entropy(node: ast.Call, tree: ast.Module) -> bool:
    """Return whether a call is of F.cross_entropy, or of a criterion where the program has nn.CrossEntropyLoss."""
    if name_of(node) == "cross_entropy":
        return True
    has_module = any(name_of(one) == "CrossEntropyLoss" for one in ast.walk(tree) if isinstance(one, ast.Call))
    return has_module and _is_loss(node)


def after_model(tree: ast.Module, text: str) -> ast.Module | None:
    """Return the tree with statements behind the one that makes the model; None where no model is in sight.

    Args:
        tree: of the program.
        text: statements in which MODEL stands for the model.
    """
    for function in ast.walk(tree):
        for block in (getattr(function, "body", None), getattr(function, "orelse", None)):
            for index, one in enumerate(block if isinstance(block, list) else []):
                name = _model_made(one)
                if name and isinstance(block, list) and not isinstance(function, ast.ClassDef):
                    block[index + 1 : index + 1] = ast.parse(text.replace("MODEL", name)).body
                    return tree
    return None


def _model_made(node: ast.stmt) -> str:
    """Return the name of the model that a statement makes, empty where it makes none."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call | ast.Tuple):
        return ""
    target = node.targets[0]
    if isinstance(target, ast.Tuple):
        target = target.elts[0]
    if not isinstance(target, ast.Name) or target.id not in MODELS:
        return ""
    return target.id
