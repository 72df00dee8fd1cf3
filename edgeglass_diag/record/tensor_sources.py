"""Which sites a tensor derives from, followed by identity through the functions of one window."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.parameter import is_lazy

_MAX_SOURCES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A matrix product of two sets of row vectors, as contrastive logits are: left (B, D), right (N, D).

    ``logits`` is what was made of the product by numbers alone (scale, bias, transposition), before labels, masks
    or margins came in.
    """

    left: Tensor
    right: Tensor
    left_sources: tuple[str, ...]
    right_sources: tuple[str, ...]
    logits: Tensor
    mixed: bool = False

    @property
    def key(self) -> int:
        """The same for all that was made of one product."""
        return id(self.left)

    def carried(self, result: Tensor, others: Iterable[Tensor]) -> Product:
        """The product behind ``result``, which a function made of these logits and of ``others``."""
        if self.mixed:
            return self
        if any(other.numel() > 1 for other in others):
            return replace(self, mixed=True)
        return replace(self, logits=result.detach())


@dataclass(frozen=True, slots=True)
class _Entry:
    tensor: weakref.ref[Tensor]
    sources: tuple[str, ...]
    product: Product | None
    is_output: bool


class Lineage:
    """Sources of living tensors. Nothing is kept alive by it but the operands of logit products."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def _entry(self, tensor: Tensor) -> _Entry | None:
        entry = self._entries.get(id(tensor))
        return entry if entry is not None and entry.tensor() is tensor else None

    def sources(self, tensors: Iterable[Tensor]) -> tuple[str, ...]:
        """Sites that these tensors come from, oldest first, at most eight."""
        found: dict[str, None] = {}
        for tensor in tensors:
            entry = self._entry(tensor)
            if entry is not None:
                found |= dict.fromkeys(entry.sources)
        return tuple(found)[-_MAX_SOURCES:]

    def product(self, tensor: Tensor) -> Product | None:
        """The matrix product that a tensor of logits was made from."""
        entry = self._entry(tensor)
        return None if entry is None else entry.product

    def is_output(self, tensor: Tensor) -> bool:
        """Whether this very tensor left a module, so that its statistics are taken already."""
        entry = self._entry(tensor)
        return entry is not None and entry.is_output

    def set_output(self, tensor: Tensor, site: str) -> None:
        """Declare a tensor the output of a module."""
        self._entries[id(tensor)] = _Entry(weakref.ref(tensor), (site,), None, is_output=True)

    def set_product(self, tensor: Tensor, product: Product) -> None:
        """Declare a tensor the product of two sets of embeddings."""
        sources = (product.left_sources + product.right_sources)[-_MAX_SOURCES:]
        self._entries[id(tensor)] = _Entry(weakref.ref(tensor), sources, product, is_output=False)

    def inherit(self, result: Tensor, arguments: list[Tensor]) -> None:
        """A function's result comes from wherever its arguments come from; logits stay logits when reshaped.

        A number that scales a tensor, as a temperature does, is not where the tensor comes from.
        """
        arguments = [argument for argument in arguments if not is_lazy(argument)]
        sources = self.sources(a for a in arguments if a.numel() > 1 or result.numel() <= 1)
        kept = None
        if result.dim() == 2:
            logits = next((a for a in arguments if a.numel() == result.numel() and self.product(a) is not None), None)
            product = None if logits is None else self.product(logits)
            if product is not None:
                kept = product.carried(result, (a for a in arguments if a is not logits))
        if sources or kept is not None:
            self._entries[id(result)] = _Entry(weakref.ref(result), sources, kept, is_output=False)

    def clear(self) -> None:
        """Forget everything at the end of a window."""
        self._entries.clear()


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, dicts and dataclass-like mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
