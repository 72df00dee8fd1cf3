"""Norms of gradients and updates over lists of parameters, in few fused calls."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

SAMPLED = 2**14
"""Entries of a parameter that are kept to compare before and after a step: all of a small one, an even stride of a
large one. The relative standard error of a norm from n entries with Gaussian values is 1 / sqrt(2 n): 0.6 %, and 2.2 %
if the neighbours of a run were no better than one."""

_JOINED = 2**12
"""Entries of a tensor on a CPU up to which it is laid out behind others, as a call for each would cost more. Copies of
larger ones cost more than the calls: they go to fresh memory, which the system clears first."""

_RUN = 16
"""Neighbours taken together: a cache line of float32, which is read whole for one entry as for sixteen."""


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """L2 norm of each tensor, stacked in float32: (len(tensors),).

    Sums of squares are taken in float32 at least: in float16 they overflow, in bfloat16 they are rough. Those of small
    tensors on a CPU are taken in float64, of the smallest together.
    """
    if isinstance(tensors, Samples) and tensors.together is not None:
        return _norms_within(tensors.together, tensors.sizes)
    found: dict[int, Tensor] = {}
    together, alone = _small_and_others(tensors, _JOINED)
    if len(together) == 1 and not alone:
        return _norms_within(_flat(tensors), [tensor.numel() for tensor in tensors])
    for places in together:
        group = [tensors[place] for place in places]
        found |= zip(places, _norms_within(_flat(group), [t.numel() for t in group]).unbind(), strict=True)
    kinds: dict[tuple[torch.dtype, torch.dtype | None], list[int]] = {}
    for place in alone:
        kinds.setdefault((tensors[place].dtype, _width_of_sums(tensors[place])), []).append(place)
    for (_, width), places in kinds.items():
        lengths = torch._foreach_norm([tensors[place] for place in places], 2, dtype=width)
        found |= zip(places, (length.float() for length in lengths), strict=True)
    return torch.stack([found[place] for place in range(len(tensors))]) if tensors else torch.empty(0)


def _width_of_sums(tensor: Tensor) -> torch.dtype | None:
    """Return in which dtype squares are summed, None where it is the tensor's own."""
    if tensor.is_cpu and tensor.numel() <= SAMPLED and tensor.layout is torch.strided:
        return torch.float64
    return torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else None


def _small_and_others(tensors: Sequence[Tensor], limit: int) -> tuple[list[list[int]], list[int]]:
    """Return the places of tensors on a CPU of at most ``limit`` entries by dtype, and the places of the others."""
    small: dict[torch.dtype, list[int]] = {}
    others = []
    for place, tensor in enumerate(tensors):
        if tensor.is_cpu and tensor.numel() <= limit and tensor.layout is torch.strided:
            small.setdefault(tensor.dtype, []).append(place)
        else:
            others.append(place)
    return list(small.values()), others


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries behind one another; no copy of a single tensor."""
    flat: Tensor = torch._C._nn.flatten_dense_tensors(list(tensors))
    return flat.detach() if flat.requires_grad else flat


def _norms_within(flat: Tensor, sizes: Sequence[int]) -> Tensor:
    """L2 norms of the parts of a flat tensor that have these sizes: (len(sizes),) in float32."""
    squares = torch.segment_reduce(flat.double().square(), "sum", lengths=torch.tensor(sizes), unsafe=True)
    wide = squares if flat.dtype == torch.float64 else squares.float()  # too large for float32 is infinite, as ever
    return wide.sqrt().float()


def sample(parameter: Tensor) -> Tensor:
    """A copy of at most about ``SAMPLED`` entries in one dimension: short runs of neighbours, evenly strided.

    The stride has no factor in common with the shape, so that it does not stay in one column.
    """
    flat = parameter.detach().reshape(-1)
    if flat.numel() <= SAMPLED:
        return flat.clone()
    count = flat.numel() // _RUN
    stride = math.ceil(count * _RUN / SAMPLED)
    while math.gcd(stride, count) > 1:
        stride += 1
    taken = flat[: count * _RUN].view(count, _RUN)[::stride].reshape(-1)
    return taken.clone() if stride == 1 else taken


class Samples(list[Tensor]):
    """Samples of several tensors.

    Attributes:
        together: all of them behind one another, where they are parts of one tensor; None where they are not.
        sizes: number of entries of each part.
    """

    def __init__(self, samples: Iterable[Tensor], together: Tensor | None = None, sizes: Sequence[int] = ()) -> None:
        super().__init__(samples)
        self.together, self.sizes = together, sizes


def samples(parameters: Sequence[Tensor]) -> list[Tensor]:
    """``sample`` of each parameter; the small ones are copied together, as one call for each would cost more.

    Args:
        parameters: strided tensors on any devices.
    """
    found: dict[int, Tensor] = {}
    together, alone = _small_and_others(parameters, SAMPLED)
    for places in together:
        group = [parameters[place] for place in places]
        flat = _flat(group).clone() if len(group) == 1 else _flat(group)
        sizes = [parameter.numel() for parameter in group]
        parts = torch.split(flat, sizes)
        if len(group) == len(parameters):
            return Samples(parts, flat, sizes)
        found |= zip(places, parts, strict=True)
    found |= ((place, sample(parameters[place])) for place in alone)
    return [found[place] for place in range(len(parameters))]


def update_ratios(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """|after - before| / |before| of each tensor; inf where a zero tensor moved, 0 where it did not.

    About 1e-3 is usual, https://cs231n.github.io/neural-networks-3/#ratio.

    Args:
        before: parameters, or samples of them, before the optimizer step.
        after: the same after it, same order and shapes.

    Returns:
        (len(before),) in float32.
    """
    moved = _lengths_of_differences(after, before) if before else torch.empty(0)
    return torch.where(moved == 0, torch.zeros_like(moved), moved / norms(before))


def _lengths_of_differences(after: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    both = _both_together(after, before)
    if both is None or both[0].dtype != both[1].dtype or not isinstance(before, Samples):
        return norms(_differences(after, before))
    return _norms_within(both[0] - both[1], before.sizes)


def _both_together(one: Sequence[Tensor], other: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Return all entries of both in one tensor each, where they correspond and lie so; None where they do not."""
    if not (isinstance(one, Samples) and isinstance(other, Samples)) or one.sizes != other.sizes:
        return None
    return None if one.together is None or other.together is None else (one.together, other.together)


def _differences(after: Sequence[Tensor], before: Sequence[Tensor]) -> list[Tensor]:
    """after - before of each; the small ones in one dimension, if they are alike."""
    found: dict[int, Tensor] = {}
    together, alone = _small_and_others(before, _JOINED)
    for places in together:
        old, new = [before[place] for place in places], [after[place] for place in places]
        if any(a.shape != b.shape or a.dtype != b.dtype or a.device != b.device for a, b in zip(old, new, strict=True)):
            alone = sorted((*alone, *places))
            continue
        found |= zip(places, torch.split(_flat(new) - _flat(old), [tensor.numel() for tensor in old]), strict=True)
    if alone:
        found |= zip(alone, torch._foreach_sub([after[p] for p in alone], [before[p] for p in alone]), strict=True)
    return [found[place] for place in range(len(before))]


def rounded_away(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """Share of each tensor's entries that a step left exactly as they were, in [0, 1].

    Args:
        before: parameters, or samples of them, before the optimizer step.
        after: the same after it, same order and shapes.

    Returns:
        (len(before),) in float32.
    """
    shares = [(old == new).float().mean() for old, new in zip(before, after, strict=True)]
    return torch.stack(shares) if shares else torch.empty(0)


def same_signs(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Share of entries with one sign in both, among those that are not zero in both, in [0, 1].

    Scaling and clipping keep every sign. 0 where the tensors do not correspond, NaN where all entries are zero.

    Args:
        one: gradients, or samples of them.
        other: the same at another time.

    Returns:
        0-d.
    """
    if not one or [a.shape for a in one] != [b.shape for b in other]:
        return torch.zeros(())
    signs = [(a.sign(), b.sign()) for a, b in zip(one, other, strict=True)]
    agreeing = torch.stack([((a == b) & (a != 0)).sum() for a, b in signs]).sum()
    return agreeing / torch.stack([((a != 0) | (b != 0)).sum() for a, b in signs]).sum()


def cosine(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Cosine between two gradients over all their tensors, in [-1, 1]; NaN where one of them is zero or not finite.

    Args:
        one: gradients, or samples of them, on any devices; at least one.
        other: the same at another time, same order and shapes.

    Returns:
        0-d, in float32.
    """
    products, both = [], _both_together(one, other)
    for a, b in zip(one, other, strict=True) if both is None else [both]:
        left, right = a.float().flatten(), b.float().flatten()
        products.append(torch.stack([left @ right, left @ left, right @ right]).to(one[0].device, non_blocking=True))
    product, left_square, right_square = torch.stack(products).sum(0).unbind()
    return product / (left_square.sqrt() * right_square.sqrt())


def reverted(before: Sequence[Tensor], after: Sequence[Tensor], later: Sequence[Tensor]) -> Tensor:
    """Share of each step that was taken back since: -<later - after, after - before> / |after - before|^2.

    1 where the step is reverted, 0 where nothing changed or what changed has nothing to do with the step, negative
    where it was taken further; NaN where the step changed nothing.

    Args:
        before: parameters, or samples of them, before the optimizer step.
        after: the same after it, same order and shapes.
        later: the same before the next step.

    Returns:
        (len(before),) in float32.
    """
    steps = [(a.float() - b.float()).flatten() for a, b in zip(after, before, strict=True)]
    since = [(c.float() - a.float()).flatten() for c, a in zip(later, after, strict=True)]
    return torch.stack([-(o @ u) / (u @ u) for o, u in zip(since, steps, strict=True)])


def row_signals(parameters: Sequence[Tensor]) -> Tensor:
    """Share of each weight's energy by which its rows differ from their mean, in [0, 1]; 0 when all are equal.

    NaN where all entries that are looked at are zero, as in a table of which few rows were ever drawn.
    Taken over at most some 64 rows and 256 columns, evenly strided.

    Args:
        parameters: (rows, ...) each, with leading axes of size 1 ignored; at least two rows.

    Returns:
        (len(parameters),) in float32.
    """
    found: dict[int, Tensor] = {}
    groups: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for place, rows in enumerate(_some_rows(parameter) for parameter in parameters):
        groups.setdefault(rows.shape, []).append((place, rows))
    for group in groups.values():
        values = torch.stack([rows for _, rows in group])
        mean = values.mean(1, keepdim=True)
        spread = (values - mean).square().mean((1, 2))
        shares = spread / (spread + mean.square().mean((1, 2)))
        found |= zip((place for place, _ in group), shares.unbind(), strict=True)
    return torch.stack([found[place] for place in range(len(parameters))])


def _some_rows(parameter: Tensor) -> Tensor:
    """About 64 rows and 256 columns in float32."""
    values = parameter.detach() if parameter.requires_grad else parameter
    if values.dim() == 2 and values.shape[0] <= 64 and values.shape[1] <= 256:  # all of them, without a view of each
        return values.float()
    while values.dim() > 2 and values.shape[0] == 1:
        values = values[0]
    rows = values[:: max(1, math.ceil(values.shape[0] / 64))].flatten(1)  # a shard may have none
    count = rows.shape[1] // _RUN
    stride = math.ceil(count * _RUN / 256)
    if stride > 1:
        rows = rows[:, : count * _RUN].reshape(len(rows), count, _RUN)[:, ::stride].flatten(1)
    return rows.float()
