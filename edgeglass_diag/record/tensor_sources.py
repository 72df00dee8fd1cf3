"""Which sites a tensor derives from, followed by identity through the functions of one window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter, is_lazy

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer
from edgeglass_diag.record.shards import is_foreign

_MAX_SOURCES = 8

_DEPTH, _ITEMS = 8, 4096
_WITHOUT_TENSORS = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.Size, slice})
_PLAIN = _WITHOUT_TENSORS | {Tensor, Parameter}
_LEAVING = frozenset({Tensor.numpy, Tensor.tolist, Tensor.__array__})
_COMING = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
"""Functions by which values leave torch, and by which others come that may be made of them; of ``from_numpy`` torch
does not tell."""

_CONTAINERS: tuple[tuple[type, Callable[[Any], Iterable[object]]], ...] = (
    (tuple, tuple.__iter__),
    (list, list.__iter__),
    (dict, dict.values),
)
"""What may hold tensors, and what yields its contents whatever its class makes of iteration."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What went into a tensor, function by function, with gradients or without.

    Attributes:
        site: the module whose output it is, empty where it is none.
        made_of: what went in.
    """

    site: str
    made_of: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class _Derivation:
    """Where a tensor comes from: the sites next to it, and the origin that leads to all before them."""

    sources: tuple[str, ...]
    product: Product | None
    is_output: bool
    origin: Origin | None


class TensorSources(Observer):
    """Sources of living tensors. Nothing is kept alive by it but the operands of logit products."""

    def __init__(self) -> None:
        self._derivations: Facts[Tensor, _Derivation] = Facts()
        self._outside: dict[Origin, None] = {}  # what has left torch in this window

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """All functions: what is computed without gradients may go into the loss."""
        return {EVERY_FUNCTION: self._follow}

    def forget(self) -> None:
        """Forget everything at the end of a window."""
        self._derivations.clear()
        self._outside.clear()

    def sources(self, tensors: Iterable[Tensor]) -> tuple[str, ...]:
        """Return the sites that these tensors come from, oldest first, at most eight."""
        found: dict[str, None] = {}
        for tensor in tensors:
            derivation = self._derivations.get(tensor)
            if derivation is not None:
                found |= dict.fromkeys(derivation.sources)
        return tuple(found)[-_MAX_SOURCES:]

    def origin(self, tensor: Tensor) -> Origin | None:
        """Return what went into a tensor, None where nothing is known of it."""
        derivation = self._derivations.get(tensor)
        return None if derivation is None else derivation.origin

    def product(self, tensor: Tensor) -> Product | None:
        """Return the matrix product that a tensor of logits was made from."""
        derivation = self._derivations.get(tensor)
        return None if derivation is None else derivation.product

    def is_output(self, tensor: Tensor) -> bool:
        """Return whether this very tensor left a module, so that its statistics are taken already."""
        derivation = self._derivations.get(tensor)
        return derivation is not None and derivation.is_output

    def set_output(self, tensor: Tensor, site: str, given: Iterable[Tensor]) -> None:
        """Declare a tensor the output of a module; it is made of what was given where no function has made it."""
        origin = self.origin(tensor)
        made_of = self._origins(given) if origin is None else (origin,)
        self._derivations.set(tensor, _Derivation((site,), None, is_output=True, origin=Origin(site, made_of)))

    def set_product(self, tensor: Tensor, product: Product) -> None:
        """Declare a tensor the product of two sets of embeddings."""
        sources = (product.left_sources + product.right_sources)[-_MAX_SOURCES:]
        origin = self.origin(tensor)
        self._derivations.set(tensor, _Derivation(sources, product, is_output=False, origin=origin))

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor):
            self._inherit(result, tensors_in([args, kwargs]), tuple(self._outside) if func in _COMING else ())
        elif func in _LEAVING:
            self._outside |= dict.fromkeys(self._origins(args))
        elif isinstance(result, (tuple, list)):
            arguments = tensors_in([args, kwargs])
            for tensor in tensors_in(result):
                self._inherit(tensor, arguments)
        elif func is Tensor.__setitem__ and isinstance(args[0], Tensor):
            self._inherit(args[0], tensors_in(args))

    def _origins(self, tensors: Iterable[object]) -> tuple[Origin, ...]:
        found: dict[Origin, None] = {}
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                origin = self.origin(tensor)
                if origin is not None:
                    found[origin] = None
                elif self._outside and _is_foreign_memory(tensor):
                    found |= self._outside
        return tuple(found)

    def _inherit(self, result: Tensor, arguments: list[Tensor], outside: tuple[Origin, ...] = ()) -> None:
        """Note that a result comes from wherever its arguments come from; logits stay logits when reshaped.

        A number that scales a tensor, as a temperature does, is not where the tensor comes from. What has no gradient
        is made in the shape of the logits, as labels are, and not of them.
        """
        arguments = [argument for argument in arguments if not is_lazy(argument)]
        sources = self.sources(a for a in arguments if a.numel() > 1 or result.numel() <= 1)
        kept = None
        if result.dim() == 2 and (result.requires_grad or not any(a.requires_grad for a in arguments)):
            logits = next((a for a in arguments if a.numel() == result.numel() and self.product(a) is not None), None)
            product = None if logits is None else self.product(logits)
            if product is not None:
                kept = product.carried(result, (a for a in arguments if a is not logits))
        origins = (*self._origins(arguments), *outside)
        origin = origins[0] if len(origins) == 1 else Origin("", origins)
        if sources or kept is not None or origins:
            self._derivations.set(result, _Derivation(sources, kept, is_output=False, origin=origin))


def _is_foreign_memory(tensor: Tensor) -> bool:
    """Return whether a tensor's memory is not torch's, as that of an array which ``from_numpy`` was given."""
    return tensor.layout is torch.strided and not tensor.untyped_storage().resizable()


def tensors_in(value: object, *, with_foreign: bool = False) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts, in their order.

    Containers are read as what they are, by no method of their own, and no deeper than ``_DEPTH`` and no further than
    ``_ITEMS`` items: they may hold themselves.

    Args:
        value: what is looked through.
        with_foreign: whether tensors are returned that compute by code of their own (``is_foreign``).
    """
    found: list[Tensor] = []
    _collect((value,), _DEPTH, _ITEMS, found)
    return found if with_foreign else [tensor for tensor in found if not is_foreign(tensor)]


def has_foreign(values: tuple[object, ...]) -> bool:
    """Return whether there is a tensor in it that computes by code of its own (``is_foreign``)."""
    if _PLAIN.issuperset(map(type, values)):  # asked for each function of torch
        return False
    found: list[Tensor] = []
    _collect(values, _DEPTH, _ITEMS, found)
    return any(is_foreign(tensor) for tensor in found)


def _collect(items: Iterable[object], depth: int, left: int, found: list[Tensor]) -> int:
    """Add the tensors of some items to ``found``; return how many more items may be looked at."""
    for item in items:
        left -= 1
        if left < 0:
            break
        kind = type(item)
        if kind in _WITHOUT_TENSORS:
            continue
        if issubclass(kind, Tensor):
            found.append(item)  # type: ignore[arg-type]
        elif depth:
            for container, contents in _CONTAINERS:
                if issubclass(kind, container):
                    left = _collect(contents(item), depth - 1, left, found)
                    break
    return left
