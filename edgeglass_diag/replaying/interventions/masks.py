"""Attention that sees what its mask hides, and hides what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeglass_diag.replaying.interventions.functions import Call, argument, change_calls, with_argument
from edgeglass_diag.replaying.interventions.means import Means, module_of, register

HIDDEN = -1e4
"""From here down it is what hides a logit: half precision ends at -65504, and libraries take what begins at -1e4."""


@register
@dataclass
class MaskInverted(Means):
    """Masks are turned round: of ``nn.MultiheadAttention``, fused attention, and logits that are filled or chosen.

    Boolean ones, and additive ones of 0 and below -10,000. A causal mask stays as it is, and so does one that holds a
    causal one. Each is turned once, where it first comes to one of these.
    """

    name = "attention.mask_inverted"
    _depth: int = 0
    _modules: int = 0

    def attach(self) -> None:
        """Stand before what takes a mask."""
        change_calls(nn.MultiheadAttention, "forward", self._multihead)
        change_calls(functional, "scaled_dot_product_attention", self._fused)
        for owner, name in ((Tensor, "masked_fill"), (Tensor, "masked_fill_"), (torch, "masked_fill")):
            change_calls(owner, name, self._filled)
        change_calls(torch, "where", self._chosen)
        if self.wanted.site:
            change_calls(nn.Module, "_call_impl", self._module_called, nested=True)

    def _module_called(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inside = args[0] is module_of(self.training, self.wanted.site)
        self._modules += inside
        try:
            return call(*args, **kwargs)
        finally:
            self._modules -= inside

    def _multihead(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for place, name in ((4, "key_padding_mask"), (6, "attn_mask")):
            args, kwargs = self._turned(args, kwargs, place, name)
        self._depth += 1
        try:
            return call(*args, **kwargs)
        finally:
            self._depth -= 1

    def _fused(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._depth:
            args, kwargs = self._turned(args, kwargs, 3, "attn_mask")
        return call(*args, **kwargs)

    def _filled(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._depth and _is_logits(args[0]) and _hides(argument(args, kwargs, 2, "value")):
            args, kwargs = self._turned(args, kwargs, 1, "mask")
        return call(*args, **kwargs)

    def _chosen(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        logits, other = argument(args, kwargs, 1, "input"), argument(args, kwargs, 2, "other")
        is_mask = (_is_logits(logits) and _hides(other)) or (_is_logits(other) and _hides(logits))
        if not self._depth and is_mask:
            args, kwargs = self._turned(args, kwargs, 0, "condition")
        return call(*args, **kwargs)

    def _turned(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        mask = argument(args, kwargs, place, name)
        turned = inverted(mask) if isinstance(mask, Tensor) and (not self.wanted.site or self._modules) else None
        if turned is None:
            return args, kwargs
        self.applied += 1
        return with_argument(args, kwargs, place, name, turned)


def inverted(mask: Tensor) -> Tensor | None:
    """Return a mask turned round; None where it is causal, or adds something else than 0 and below -10,000."""
    hidden = mask if mask.dtype is torch.bool else mask <= HIDDEN
    if mask.dtype is not torch.bool and not bool(((mask == 0) | hidden).all()):
        return None
    if _holds_causal(hidden):
        return None
    if mask.dtype is torch.bool:
        return ~mask
    return torch.where(hidden, 0.0, torch.finfo(mask.dtype).min).to(mask.dtype)


def _holds_causal(mask: Tensor) -> bool:
    """Return whether all above the diagonal has one value and some below the other one, in each of its matrices."""
    if mask.dim() < 2 or mask.shape[-1] != mask.shape[-2] or mask.shape[-1] < 2:
        return False
    above = torch.ones(mask.shape[-2:], dtype=torch.bool, device=mask.device).triu(1)
    both = ((each[..., above], each[..., ~above]) for each in (mask, ~mask))
    return any(bool(upper.all()) and not bool(lower.all()) for upper, lower in both)


def _is_logits(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and value.dim() > 1


def _hides(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.is_floating_point() and float(value) <= HIDDEN
    return isinstance(value, int | float) and value <= HIDDEN
