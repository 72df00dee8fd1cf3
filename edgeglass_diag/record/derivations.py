"""What is known of where a tensor comes from: sites, what it was made of, and products of embeddings behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.observer import Function
from edgeglass_diag.record.torch_functions import DIFFERENCES, SUMS

_SHIFTING = frozenset({*SUMS, *DIFFERENCES, Tensor.__rsub__})


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A matrix product of two sets of row vectors, as contrastive logits are: left (B, D), right (N, D).

    ``logits`` is what was made of the product by numbers alone (scale, bias, transposition), before labels, masks
    or margins came in: they are ``mixed`` then, and ``shifted`` where a tensor was added or taken away.
    """

    left: Tensor
    right: Tensor
    left_sources: tuple[str, ...]
    right_sources: tuple[str, ...]
    logits: Tensor
    mixed: bool = False
    shifted: bool = False

    @property
    def key(self) -> int:
        """The same for all that was made of one product."""
        return id(self.left)

    def carried(self, func: Function, result: Tensor, others: Iterable[Tensor]) -> Product:
        """The product behind ``result``, which a function made of these logits and of ``others``."""
        if any(other.numel() > 1 for other in others):
            return replace(self, mixed=True, shifted=self.shifted or func in _SHIFTING)
        return self if self.mixed else replace(self, logits=result.detach())


@dataclass(slots=True, eq=False)
class Origin:
    """What went into a tensor, function by function, with gradients or without.

    Attributes:
        site: the module whose output it is, empty where it is none.
        made_of: what went in.
    """

    site: str
    made_of: tuple[Origin, ...]


def behind(origins: Iterable[Origin]) -> Iterator[Origin]:
    """Yield all that something was made of, and itself."""
    seen: set[int] = set()
    waiting = list(origins)
    while waiting:
        origin = waiting.pop()
        if id(origin) not in seen:
            seen.add(id(origin))
            waiting += origin.made_of
            yield origin


@dataclass(slots=True, eq=False)
class Derivation:
    """Where a tensor comes from: the sites next to it, and the origin that leads to all before them.

    It is never changed: one may be that of several tensors.
    """

    sources: tuple[str, ...] = ()
    product: Product | None = None
    is_output: bool = False
    origin: Origin | None = None
    comparisons: tuple[Comparison, ...] = ()
