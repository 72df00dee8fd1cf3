"""Changes of what a batch is made of, and of a batch as it enters the model: captions permuted, other pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from edgeglass_diag.replaying.interventions.functions import Call, change_calls
from edgeglass_diag.replaying.interventions.means import Means, register

_CHANNELS = (1, 3, 4)


@register
@dataclass
class BatchesRedrawn(Means):
    """Loaders that go through a data set in its order draw from it at random, anew each time that they are iterated.

    Those with a sampler of the program's own stay as they are, but a ``DistributedSampler``, which then takes another
    order in each epoch.
    """

    name = "data.batches_redrawn"
    asks_models = False

    def attach(self) -> None:
        """Stand before the making of loaders, and before the epochs of distributed samplers."""
        change_calls(DataLoader, "__init__", self._made)
        change_calls(DistributedSampler, "__iter__", self._begun)

    def _made(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        asked = signature(call).bind(*args, **kwargs)
        if _is_in_order(asked.arguments):
            self.applied += 1
            asked.arguments |= {"shuffle": True, "sampler": None}
        return call(*asked.args, **asked.kwargs)

    def _begun(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        sampler: DistributedSampler[Any] = args[0]
        if sampler.shuffle:
            self.applied += 1
            sampler.set_epoch(sampler.epoch + 1)
        return call(*args, **kwargs)


def _is_in_order(asked: Mapping[str, Any]) -> bool:
    """Return whether a loader with these arguments goes through a data set in its order."""
    if asked.get("shuffle") or asked.get("batch_sampler") is not None or isinstance(asked["dataset"], IterableDataset):
        return False
    return asked.get("sampler") is None or isinstance(asked["sampler"], SequentialSampler)


@dataclass
class BatchChange(Means):
    """A change of what the outermost modules of a training pass are called with."""

    asks_models = False
    _depth: int = 0

    def attach(self) -> None:
        """Stand before the calls of modules."""
        change_calls(nn.Module, "_call_impl", self._called, nested=True)

    def _called(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._depth and torch.is_grad_enabled():
            given = (args[1:], kwargs)
            changed = self.changed(given)
            if changed is not None:
                self.applied += 1
                args, kwargs = (args[0], *changed[0]), changed[1]
        self._depth += 1
        try:
            return call(*args, **kwargs)
        finally:
            self._depth -= 1

    @abstractmethod
    def changed(self, given: Any) -> Any | None:
        """Return other arguments, a tuple and a mapping; None where there is nothing to change."""


@register
@dataclass
class CaptionsPermuted(BatchChange):
    """Rows of token numbers, and of masks that come with them, stand in another order, the same for all of a size.

    A loss that falls as far with it does not read the captions. The order is a shift by one: no row stays.
    """

    name = "data.captions_permuted"

    def changed(self, given: Any) -> Any | None:
        """Return shifted rows of all whole numbers (B, L) with B > 1 that are not all alike."""
        sizes = {len(each) for each in tree_leaves(given) if _is_tokens(each)}
        if not sizes:
            return None
        return tree_map(lambda each: each.roll(1, 0) if _has_rows(each) and len(each) in sizes else each, given)


def _has_rows(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.dim() != 2 or len(value) < 2:
        return False
    return not value.is_floating_point() and not value.is_complex()


def _is_tokens(value: Any) -> bool:
    return _has_rows(value) and value.dtype is not torch.bool and bool((value != value[:1]).any())


@dataclass
class PixelChange(BatchChange):
    """A change of pictures (B, C, H, W) with 1, 3 or 4 channels, of bytes or floats."""

    def changed(self, given: Any) -> Any | None:
        """Return changed pictures."""
        if not any(map(_is_pictures, tree_leaves(given))):
            return None
        return tree_map(lambda each: self.pixels(each.float()).to(_dtype(each)) if _is_pictures(each) else each, given)

    @abstractmethod
    def pixels(self, pictures: Tensor) -> Tensor:
        """Return other pictures of the same shape."""


@register
@dataclass
class PixelsStandardised(PixelChange):
    """Each channel of a batch of pictures has mean 0 and standard deviation 1."""

    name = "data.pixels_standardised"

    def pixels(self, pictures: Tensor) -> Tensor:
        """Return standardised pictures."""
        mean = pictures.mean((0, 2, 3), keepdim=True)
        deviation = pictures.std((0, 2, 3), keepdim=True)
        return (pictures - mean) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))


@register
@dataclass
class PixelsScaled(PixelChange):
    """Pixels times the factor."""

    name = "data.pixels_scaled"

    def pixels(self, pictures: Tensor) -> Tensor:
        """Return scaled pictures."""
        return pictures * self.number


def _is_pictures(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.dim() != 4 or value.shape[1] not in _CHANNELS:
        return False
    return value.grad_fn is None and (value.is_floating_point() or value.dtype is torch.uint8)


def _dtype(pictures: Tensor) -> torch.dtype:
    """Return the type of changed pictures: their own, or that of floats where they are bytes."""
    return pictures.dtype if pictures.is_floating_point() else torch.get_default_dtype()
