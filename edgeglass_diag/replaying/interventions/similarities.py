"""Changes of the operands of the product that makes the logits of a contrastive loss."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from edgeglass_diag.replaying.interventions.functions import Call, argument, change_calls
from edgeglass_diag.replaying.interventions.means import Means, register
from edgeglass_diag.replaying.interventions.places import line_of_program

_PRODUCTS = ((torch, "matmul"), (torch, "mm"), (Tensor, "matmul"), (Tensor, "mm"), (Tensor, "__matmul__"))
_LOSSES = ((functional, "cross_entropy"), (functional, "binary_cross_entropy_with_logits"), (functional, "logsigmoid"))
_MOST_NODES = 64
"""Nodes of the graph behind the logits of a loss among which the product is looked for, nearest first: between the two
lie a scale, a bias, a transposition, a mask."""

Place = tuple[str, int]


@dataclass
class OperandChange(Means):
    """A change of both operands of a similarity product: one of two matrices that are no parameters, (n, d) and (d, m).

    Which products these are is seen in the first pass, by the graph behind the logits of a loss; they are changed from
    the second pass on, at the lines of the program that make them.
    """

    asks_models = False
    losses: ClassVar[Sequence[tuple[Any, str]]] = _LOSSES
    """Functions behind whose first argument the product is looked for."""
    _lines: Any = field(default_factory=dict)  # node of the graph -> line, within a pass
    _found: set[Place] = field(default_factory=set)

    def attach(self) -> None:
        """Stand before matrix products, and look at what losses are given."""
        for owner, name in _PRODUCTS:
            change_calls(owner, name, self._product)
        change_calls(functional, "linear", self._linear)
        for owner, name in self.losses:
            change_calls(owner, name, self._loss)

    def _product(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._made(call, args, kwargs, transposed=False)

    def _linear(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``linear(image, text)`` is a product with ``text.T``."""
        return self._made(call, args, kwargs, transposed=True)

    def _made(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], *, transposed: bool) -> Any:
        if len(args) < 2 or not _may_be_compared(args[0], args[1]):
            return call(*args, **kwargs)
        line = _line()
        if line in self._found:
            right = args[1] if transposed else args[1].T
            left, other = self.operands(args[0], right)
            if left is not None or other is not None:
                self.applied += 1
                self.place = self.place or line_of_program()
                right = right if other is None else other
                args = (args[0] if left is None else left, right if transposed else right.T, *args[2:])
        result = call(*args, **kwargs)
        if isinstance(result, Tensor) and result.grad_fn is not None:
            self._lines[result.grad_fn] = line
        return result

    def _loss(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        logits = argument(args, kwargs, 0, "input")
        if isinstance(logits, Tensor) and logits.grad_fn is not None:
            self._found.update(line for node in _behind(logits.grad_fn) if (line := self._lines.get(node)))
            if len(self._lines) > _MOST_NODES:
                self._lines.clear()
        return call(*args, **kwargs)

    def operands(self, left: Tensor, right: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return others in place of both operands, each with a representation in each row; None for one that stays."""
        return self.changed(left), self.changed(right)

    @abstractmethod
    def changed(self, rows: Tensor) -> Tensor | None:
        """Return other rows (n, d) in place of these; None where they are left alone."""


def _may_be_compared(left: Any, right: Any) -> bool:
    """Return whether two matrices may hold a representation in each row, and neither is a weight of the model."""
    both = [each for each in (left, right) if isinstance(each, Tensor) and each.dim() == 2]
    if len(both) < 2 or not any(each.requires_grad for each in both):
        return False
    return not any(isinstance(each if each._base is None else each._base, torch.nn.Parameter) for each in both)


def _line() -> Place:
    """Return the line that called, outside of torch and of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("torch", "edgeglass_diag"):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _behind(node: Any) -> Iterator[Any]:
    """Yield the nodes of the graph behind one, itself first, the nearest first."""
    seen, waiting = {node}, [node]
    for each in waiting:
        yield each
        if len(seen) < _MOST_NODES:
            new = [n for n, _ in each.next_functions if n is not None and n not in seen]
            seen.update(new)
            waiting += new


@register
@dataclass
class Normalised(OperandChange):
    """Each row of both operands has L2 norm 1, where their norms differ: a scale may lie on an operand."""

    name = "loss.normalised"

    def changed(self, rows: Tensor) -> Tensor | None:
        """Return normalised rows; None where all have one norm."""
        with torch.no_grad():
            norms = torch.linalg.vector_norm(rows.float(), dim=-1)
            if torch.allclose(norms, norms.mean(), rtol=1e-2):  # a norm in half precision is off by 2^-8
                return None
        return functional.normalize(rows, dim=-1)


@register
@dataclass
class NotNormalised(OperandChange):
    """Operands are what ``normalize``, or a division by their own norm, was given."""

    name = "loss.not_normalised"
    _inputs: Any = field(default_factory=WeakIdKeyDictionary)
    _norms: Any = field(default_factory=WeakIdKeyDictionary)

    def attach(self) -> None:
        """Note what is normalised, besides."""
        super().attach()
        change_calls(functional, "normalize", self._normalised)
        for owner, name in ((Tensor, "norm"), (torch, "norm"), (torch.linalg, "norm"), (torch.linalg, "vector_norm")):
            change_calls(owner, name, self._norm)
        for owner, name in ((Tensor, "__truediv__"), (Tensor, "div"), (torch, "div")):
            change_calls(owner, name, self._divided)

    def _normalised(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._noted(call(*args, **kwargs), argument(args, kwargs, 0, "input"), self._inputs)

    def _norm(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._noted(call(*args, **kwargs), argument(args, kwargs, 0, "input"), self._norms)

    def _divided(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = call(*args, **kwargs)
        own = len(args) > 1 and isinstance(args[1], Tensor) and self._norms.get(args[1]) is args[0]
        return self._noted(result, args[0], self._inputs) if own else result

    @staticmethod
    def _noted(result: Any, given: Any, notes: Any) -> Any:
        if isinstance(result, Tensor) and isinstance(given, Tensor):
            notes[result] = given
        return result

    def changed(self, rows: Tensor) -> Tensor | None:
        """Return what was normalised; None where these rows were not."""
        whole = rows if rows._base is None else rows._base
        given = self._inputs.get(rows, self._inputs.get(whole))
        return given if given is not None and given.shape == rows.shape else None
