"""What attention logits are made of: the two operands, the projections behind them, and what went into those.

For an inspection at init only: it looks at whole tensors and walks the graph of autograd.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import PRODUCTS, bind
from edgeglass_diag.signals import family
from edgeglass_diag.sites import AttentionSite, Kind

_CARRYING = (
    "View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "Unsqueeze", "Squeeze", "Split", "SplitWithSizes",
    "Select", "Slice", "Clone", "Expand", "T", "ToCopy", "Mul", "Div", "Unbind", "Alias", "Repeat", "Cat", "Add", "Neg",
    "Unflatten", "AsStrided", "Chunk",
)  # fmt: skip
"""Operations (as autograd names them) between a projection and its attention: shapes, numbers, rotary positions."""
_MAX_NODES = 400
_SIGNALS = family("operand")


@dataclass(frozen=True, slots=True)
class Projection:
    """One call of a linear map: its weight by name, root mean squares of weight and bias, and what went in."""

    weight: str
    std: float
    bias: float
    input: Tensor
    sequence_first: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """A matrix product of two operands, and the number of entries of its result."""

    entries: int
    left: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of an attention's logits.

    Attributes:
        count: number of queries or keys.
        width: entries of one head.
        learned: whether it is the same for every sample, so that it comes from parameters alone.
        projection: name of the weight that made it, empty where none is between it and what it is made of.
        weight_std: root of the mean square of that weight; NaN without projection.
        bias: root of the mean square of the projection's bias, 0 without.
        energy: mean over the positions of |x|^2, with x the projection's input (or the operand itself).
        spread: mean over the samples of the trace of the positions' covariance of x.
        input_width: D of x.
        origin: for a learned side, the largest parameter that x comes from.
        reason: why no projection could be named, empty where one was.
    """

    count: int
    width: int
    learned: bool
    projection: str
    weight_std: float
    bias: float
    energy: float
    spread: float
    input_width: int
    origin: str
    reason: str

    @property
    def rms(self) -> float:
        """Root of the mean square of what goes into the projection."""
        return float((self.energy / self.input_width) ** 0.5)


@dataclass(frozen=True, slots=True)
class Operands:
    """Queries and keys of one attention; ``scale`` is the factor on their product, None where it was not given."""

    query: Operand
    key: Operand
    scale: float | None


class AttentionInputObserver(Observer):
    """Collects the operands of each attention of a training forward pass.

    Args:
        recording: state of the watch.

    Attributes:
        found: by attention site.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._made: dict[Any, Projection] = {}
        self._latest: _Product | None = None
        self.found: dict[str, Operands] = {}

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(PRODUCTS, self._product)
        return table | {functional.linear: self._linear, torch.addmm: self._addmm}

    def forget(self) -> None:
        """Let go of what was kept."""
        self._made.clear()
        self._latest = None

    def _linear(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._keep(result, given["input"], given["weight"], given.get("bias"))

    def _addmm(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if given.get("alpha", 1) == given.get("beta", 1) == 1:
            self._keep(result, given["mat1"], given["mat2"], given["input"])

    def _product(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if len(tensors) < 2 or not isinstance(result, Tensor):
            return
        left, right = tensors[-2:]
        if isinstance(right, nn.Parameter) and right.dim() == 2:
            self._keep(result, left, right, None)
        self._latest = _Product(result.numel(), left, right)

    def _keep(self, result: Tensor, given: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        if result.grad_fn is None:
            return
        module = self._recording.stack.module
        with self._recording.measuring("", Kind.ATTENTION):
            self._made[result.grad_fn] = Projection(
                self._name(weight), _rms(weight), 0.0 if bias is None else _rms(bias), given,
                isinstance(module, nn.MultiheadAttention),
            )  # fmt: skip

    def _name(self, weight: Tensor) -> str:
        """Return the name of a parameter, or of the one that this is a piece of."""
        whole = weight if isinstance(weight, nn.Parameter) else _leaf(weight)
        return "unnamed" if whole is None else self._recording.naming.parameter(whole)

    def product_of(self, logits: Tensor, *, last: bool) -> tuple[Tensor, Tensor] | None:
        """Return queries (..., L, d) and keys (..., S, d) of the latest product if it has as many entries as these."""
        if self._latest is None or self._latest.entries != logits.numel():
            return None
        left, right = self._latest.left, self._latest.right
        with torch.enable_grad():  # views without a graph would hide where they come from
            if right.dim() == 1:
                return right[None], left
            if left.dim() < 2:
                return None
            query, key = (left, right) if last else (right.mT, left)
            keys = logits.shape[-1] if last else left.shape[-2]
            key = key if key.shape[-2] == keys and key.shape[-1] == query.shape[-1] else key.mT
        return (query, key) if key.shape[-2] == keys and key.shape[-1] == query.shape[-1] else None

    def take(self, site: str, query: Tensor, key: Tensor, scale: float | None = None) -> None:
        """Note the operands (B, H, L, d) and (B, H, S, d) of an attention."""
        operands = self.found[site] = Operands(self._operand(query), self._operand(key), scale)
        recording, side = self._recording, operands.query
        if side.learned:
            recording.sites.register_site(AttentionSite(path=site, queries_from=side.origin))
        share = side.spread / side.energy if side.energy else 0.0
        own = query.detach().double()
        own_share = (own - own.mean(-2, keepdim=True)).square().sum() / own.square().sum().clamp(min=1e-300)
        numbers = {
            "queries": side.count, "keys": operands.key.count, "learned": side.learned,
            "own_share": float(own_share), "query_rms": side.rms, "query_spread": share,
        }  # fmt: skip
        for name, value in numbers.items():
            recording.buffer.add(site, _SIGNALS[name], float(value))

    def _operand(self, operand: Tensor) -> Operand:
        count, width = operand.shape[-2:]
        projection, reason = self._projection(operand)
        x = operand if projection is None else projection.input
        first = projection is not None and projection.sequence_first and x.dim() == 3
        axis = 0 if first else max(x.dim() - 2, 0)
        learned = _same(x, 1 if first else 0) if x.dim() > 2 else operand.dim() == 2 or _same(operand, 0)
        if projection is not None and x.shape[axis] != count:
            reason = f"the input of {projection.weight} has no axis of {count} positions"
        values = x.detach().double()
        mean = values.mean(axis, keepdim=True)
        leaf = _leaf(x) if learned else None
        return Operand(
            count,
            width,
            learned,
            "" if projection is None else projection.weight,
            float("nan") if projection is None else projection.std,
            0.0 if projection is None else projection.bias,
            float(values.square().sum(-1).mean()),
            float((values - mean).square().sum(-1).mean()),
            x.shape[-1],
            "" if leaf is None else self._recording.naming.parameter(leaf),
            reason,
        )

    def _projection(self, operand: Tensor) -> tuple[Projection | None, str]:
        """Return the one projection that an operand comes from by shapes and numbers alone, or why there is none."""
        if isinstance(operand, nn.Parameter):
            return None, "no projection: a parameter"
        if operand.grad_fn is None:
            return None, "no projection: a tensor without gradients"
        found: dict[int, Projection] = {}
        direct = False
        waiting, seen = deque([operand.grad_fn]), {operand.grad_fn}
        while waiting:
            node = waiting.popleft()
            if node in self._made:
                found[id(node)] = self._made[node]
                continue
            name = node.name().removesuffix("Backward0").removesuffix("Backward1").removesuffix("Backward2")
            if "AccumulateGrad" in name:
                direct = True
                continue
            if name not in _CARRYING:
                return None, f"no projection: made by {name}"
            fresh = [nxt for nxt, _ in node.next_functions if nxt is not None and nxt not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
        if not found:
            return None, "no projection: a parameter" if direct else "no projection: a tensor without gradients"
        if len(found) > 1 or direct:
            return None, f"comes from {len(found)} projections{' and a parameter' if direct else ''}"
        return next(iter(found.values())), ""


def _same(values: Tensor, batch_axis: int) -> bool:
    """Return whether all samples of a batch of two or more are equal, bit by bit."""
    first = values.narrow(batch_axis, 0, 1)
    return values.shape[batch_axis] > 1 and bool((values == first).all())


def _rms(weight: Tensor) -> float:
    """Return the root mean square: row by row in float32, cheaper than float64, with an error below 1e-6."""
    rows = torch.linalg.vector_norm(weight.detach().float(), dim=-1)
    return float((rows.double().square().sum() / max(weight.numel(), 1)).sqrt())


def _leaf(tensor: Tensor) -> Tensor | None:
    """Return the largest parameter that a tensor derives from; itself where it is one."""
    if tensor.grad_fn is None:
        return tensor if tensor.requires_grad else None
    leaves: list[Tensor] = []
    waiting, seen = deque([tensor.grad_fn]), {tensor.grad_fn}
    while waiting and len(seen) < _MAX_NODES:
        node = waiting.popleft()
        variable = getattr(node, "variable", None)
        if variable is not None:
            leaves.append(variable)
        fresh = [nxt for nxt, _ in node.next_functions if nxt is not None and nxt not in seen]
        seen.update(fresh)
        waiting.extend(fresh)
    return max(leaves, key=lambda leaf: leaf.numel(), default=None)
