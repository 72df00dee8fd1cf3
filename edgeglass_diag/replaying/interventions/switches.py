"""What is turned off: dropout and autocast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgeglass_diag.replaying.interventions.functions import Call, argument, change_calls, with_argument
from edgeglass_diag.replaying.interventions.means import Means, module_of, register
from edgeglass_diag.replaying.interventions.places import line_of_program

_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_DROPOUT_OF_ATTENTION = 4
"""Place of ``dropout_p`` among the arguments of ``scaled_dot_product_attention``."""


@register
@dataclass
class NoDropout(Means):
    """Dropout in modules and functions, and in fused attention, drops nothing: everywhere, or within a module.

    The program draws other random numbers from then on.
    """

    name = "dropout.off"
    _depth: int = 0

    def attach(self) -> None:
        """Stand before the functions that drop."""
        for name in _DROPOUTS:
            change_calls(functional, name, self._dropped)
        change_calls(functional, "scaled_dot_product_attention", self._attended)
        if self.wanted.site:
            change_calls(nn.Module, "_call_impl", self._module_called, nested=True)

    def _module_called(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inside = args[0] is module_of(self.training, self.wanted.site)
        self._depth += inside
        try:
            return call(*args, **kwargs)
        finally:
            self._depth -= inside

    @property
    def _is_meant(self) -> bool:
        return not self.wanted.site or self._depth > 0

    def _dropped(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        p, training = argument(args, kwargs, 1, "p"), argument(args, kwargs, 2, "training")
        if p == 0 or training is False or not self._is_meant:
            return call(*args, **kwargs)
        self.applied += 1
        args, kwargs = with_argument(args, kwargs, 1, "p", 0.0)
        return call(*args, **kwargs)

    def _attended(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._is_meant and argument(args, kwargs, _DROPOUT_OF_ATTENTION, "dropout_p"):
            self.applied += 1
            args, kwargs = with_argument(args, kwargs, _DROPOUT_OF_ATTENTION, "dropout_p", 0.0)
        return call(*args, **kwargs)


@register
@dataclass
class NoAutocast(Means):
    """``torch.autocast`` and its kin are never on; a GradScaler goes on, weights that are half precision stay so."""

    name = "autocast.off"
    asks_models = False

    def attach(self) -> None:
        """Stand before the constructor of autocast, which its older forms call."""
        change_calls(torch.amp.autocast_mode.autocast, "__init__", self._made)

    def _made(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        enabled = argument(args, kwargs, 3, "enabled")
        if enabled is None or enabled:
            self.applied += 1
            self.place = self.place or line_of_program()
            args, kwargs = with_argument(args, kwargs, 3, "enabled", False)
        return call(*args, **kwargs)
