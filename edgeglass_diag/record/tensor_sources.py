"""Which sites a tensor derives from, followed by identity through the functions of one window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn.parameter import Parameter

from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.derivations import Derivation, Origin, Product
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.foreign_memory import is_foreign_memory, is_in_data_loader
from edgeglass_diag.record.nested import OWN, arguments_in, tensors_in
from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer
from edgeglass_diag.record.shards import is_unmade
from edgeglass_diag.record.torch_functions import MIXING

_MAX_SOURCES = 8
_MAX_COMPARISONS = 16
_LEAVING = frozenset({Tensor.numpy, Tensor.tolist, Tensor.__array__})
_COMING = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
"""Functions by which values leave torch, and by which others come that may be made of them; of ``from_numpy`` torch
does not tell."""


_UNKNOWN = Derivation()


class TensorSources(Observer):
    """Sources of living tensors. Nothing is kept alive by it but the operands of what is compared.

    Args:
        without_gradients: whether what is followed is computed without gradients, so that they tell nothing.
    """

    def __init__(self, *, without_gradients: bool = False) -> None:
        self._without_gradients = without_gradients
        self._derivations: Facts[Tensor, Derivation] = Facts()
        self._outside: dict[Origin, None] = {}  # what has left torch in this window
        self._there: set[int] = set()  # addresses of memory that is not torch's, before anything had left

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """All functions: what is computed without gradients may go into the loss."""
        return {EVERY_FUNCTION: self._follow}

    def forget(self) -> None:
        """Forget everything at the end of a window."""
        self._derivations.clear()
        self._outside.clear()
        self._there.clear()

    def sources(self, tensors: Iterable[Tensor]) -> tuple[str, ...]:
        """Return the sites that these tensors come from, oldest first, at most eight."""
        return _sources(map(self._derivation, tensors))

    def origin(self, tensor: Tensor) -> Origin | None:
        """Return what went into a tensor, None where nothing is known of it."""
        derivation = self._derivation(tensor)
        return None if derivation is None else derivation.origin

    def product(self, tensor: Tensor) -> Product | None:
        """Return the matrix product that a tensor of logits was made from."""
        derivation = self._derivations.get(tensor)
        return None if derivation is None else derivation.product

    def comparisons(self, tensor: Tensor) -> tuple[Comparison, ...]:
        """Return the comparisons of embeddings that a tensor was made from, oldest first, at most sixteen."""
        derivation = self._derivation(tensor)
        return () if derivation is None else derivation.comparisons

    def is_output(self, tensor: Tensor) -> bool:
        """Return whether this very tensor left a module, so that its statistics are taken already."""
        derivation = self._derivations.get(tensor)
        return derivation is not None and derivation.is_output

    def set_output(self, tensor: Tensor, site: str, given: Iterable[Tensor]) -> None:
        """Declare a tensor the output of a module; it is made of what was given where no function has made it.

        Numbers, as a loss gives, stay what they were made from.
        """
        before = self._derivation(tensor) or _UNKNOWN
        made_of = self._origins(given) if before.origin is None else (before.origin,)
        kept = before.comparisons if tensor.dim() < 2 else ()
        known = Derivation((site,), is_output=True, origin=Origin(site, made_of), comparisons=kept)
        self._derivations.set(tensor, known)

    def mark(self, tensor: Tensor) -> Origin:
        """Return an origin of which all that is made of a tensor from now on can be told."""
        known = self._derivation(tensor) or Derivation()
        origin = Origin("", () if known.origin is None else (known.origin,))
        self._derivations.set(tensor, replace(known, origin=origin))
        return origin

    def set_product(self, tensor: Tensor, product: Product, comparison: Comparison) -> None:
        """Declare a tensor the product of two sets of embeddings."""
        sources = (product.left_sources + product.right_sources)[-_MAX_SOURCES:]
        known = Derivation(sources, product, origin=self.origin(tensor), comparisons=(comparison,))
        self._derivations.set(tensor, known)

    def set_comparison(self, tensor: Tensor, comparison: Comparison) -> None:
        """Declare a tensor what came of a comparison."""
        known = self._derivations.get(tensor) or Derivation()
        self._derivations.set(tensor, replace(known, comparisons=(comparison,)))

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if func in _LEAVING:
            self._outside |= dict.fromkeys(self._origins(args))
        elif isinstance(result, (Tensor, tuple, list)):
            arguments = arguments_in(args, kwargs)
            if not OWN.issuperset(map(type, arguments)):
                arguments = [argument for argument in arguments if not is_unmade(argument)]
            if self._outside and is_in_data_loader():
                for tensor in tensors_in(result):
                    self._derivations.set(tensor, Derivation(origin=Origin("", ())))
                return
            outside = tuple(self._outside) if func in _COMING else ()
            for tensor in tensors_in(result):
                self._inherit(func, tensor, arguments, outside)
        elif func is Tensor.__setitem__ and isinstance(args[0], Tensor):
            self._inherit(func, args[0], tensors_in(args))

    def _origins(self, tensors: Iterable[object]) -> tuple[Origin, ...]:
        given = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
        return self._origins_of(zip(given, map(self._derivation, given), strict=True))

    def _origins_of(self, derived: Iterable[tuple[Tensor, Derivation | None]]) -> tuple[Origin, ...]:
        found: dict[Origin, None] = {}
        for tensor, derivation in derived:
            if derivation is not None and derivation.origin is not None:
                found[derivation.origin] = None
            elif not isinstance(tensor, Parameter) and is_foreign_memory(tensor):
                found |= self._from_outside(tensor)
        return tuple(found)

    def _from_outside(self, tensor: Tensor) -> dict[Origin, None]:
        """Return what memory that is not torch's may be made of: nothing where it was there before values left."""
        place = tensor.untyped_storage().data_ptr()
        if self._outside:
            return {} if place in self._there else self._outside
        self._there.add(place)  # as buffers that were loaded from a file
        return {}

    def _inherit(
        self, func: Function, result: Tensor, arguments: Sequence[Tensor], outside: tuple[Origin, ...] = ()
    ) -> None:
        """Note that a result comes from wherever its arguments come from; logits stay logits when reshaped.

        A number that scales a tensor, as a temperature does, is not where the tensor comes from. What has no gradient
        is made in the shape of the logits, as labels are, or picks pairs by them, and is not made of them. What is
        multiplied by a matrix is no comparison any more.
        """
        derived = list(zip(arguments, map(self._derivation, arguments), strict=True))
        if not outside and self._is_handed_on(result, derived):
            return
        known = [(argument, derivation) for argument, derivation in derived if derivation is not None]
        size, kept, compares, nearest = result.numel(), None, False, []
        logits: tuple[Tensor, Product] | None = None
        for argument, derivation in known:
            count = argument.numel()
            if size <= 1 or count > 1:
                nearest.append(derivation)
            if logits is None and count == size and derivation.product is not None:
                logits = argument, derivation.product
            compares = compares or bool(derivation.comparisons)
        sources = _sources(nearest)
        if logits is not None and result.dim() == 2 and self._learns(result, arguments):
            kept = logits[1].carried(func, result, (a for a in arguments if a is not logits[0]))
        comparisons = _compared(known, result) if compares and result.requires_grad and func not in MIXING else ()
        origins = (*self._origins_of(derived), *outside)
        origin = origins[0] if len(origins) == 1 else Origin("", origins)
        if sources or kept is not None or comparisons or origins:
            self._derivations.set(result, Derivation(sources, kept, origin=origin, comparisons=comparisons))

    def _is_handed_on(self, result: Tensor, derived: Iterable[tuple[Tensor, Derivation | None]]) -> bool:
        """Note what is known of a result that is made of weights and of one tensor which is nothing special.

        That is so of most functions: nothing is to be joined. Return False, and note nothing, where it is not.
        """
        source: tuple[Tensor, Derivation] | None = None
        for argument, derivation in derived:
            if derivation is not None and source is None:
                source = argument, derivation
            elif derivation is not None or type(argument) is not Parameter:
                return False
        if source is None:
            return False
        argument, known = source
        is_special = known.product is not None or known.comparisons or known.origin is None
        if is_special or (result.numel() > 1 and argument.numel() <= 1):
            return False
        self._derivations.set(result, Derivation(known.sources, origin=known.origin) if known.is_output else known)
        return True

    def _learns(self, result: Tensor, arguments: Sequence[Tensor]) -> bool:
        return self._without_gradients or result.requires_grad or not any(a.requires_grad for a in arguments)

    def _derivation(self, tensor: Tensor) -> Derivation | None:
        """Return what is known of a tensor, also of what a user's own autograd function made, as a gather of ranks."""
        known = self._derivations.get(tensor)
        if known is not None or type(tensor) is Parameter:
            return known
        node = _node(tensor)
        if isinstance(node, BackwardCFunction):
            known = self._through(node)
            self._derivations.set(tensor, known)
        return known

    def _through(self, node: BackwardCFunction) -> Derivation:
        """Return where the inputs of an autograd function come from, by the functions that made them."""
        given = [function for function, _ in node.next_functions if function is not None]
        known = [d for tensor, d in self._derivations.items() if any(_node(tensor) is made for made in given)]
        comparisons = dict.fromkeys(comparison for derivation in known for comparison in derivation.comparisons)
        origins = tuple(dict.fromkeys(derivation.origin for derivation in known if derivation.origin is not None))
        carried = tuple(comparisons)[-_MAX_COMPARISONS:]
        return Derivation(_sources(known), origin=Origin("", origins) if origins else None, comparisons=carried)


def _compared(known: Sequence[tuple[Tensor, Derivation]], result: Tensor) -> tuple[Comparison, ...]:
    """Return the comparisons that a result was made from; of a gate, which scales what is wider than it, none."""
    size = max((argument.numel() for argument, derivation in known if derivation.comparisons), default=0)
    if any(size < a.numel() == result.numel() and d.sources and not d.comparisons for a, d in known):
        return ()
    found: dict[Comparison, None] = {}
    for _, derivation in known:
        found |= dict.fromkeys(derivation.comparisons)
    return tuple(found)[-_MAX_COMPARISONS:]


def _node(tensor: Tensor) -> object:
    """Return what made a tensor, with gradients."""
    try:
        return tensor.grad_fn
    except RuntimeError:  # of a view made without gradients, whose base has one by now, torch refuses to tell
        return None


def _sources(derivations: Iterable[Derivation | None]) -> tuple[str, ...]:
    known = list(filter(None, derivations))
    if len(known) == 1:  # as of most functions
        return known[0].sources
    return tuple(dict.fromkeys(source for derivation in known for source in derivation.sources))[-_MAX_SOURCES:]
