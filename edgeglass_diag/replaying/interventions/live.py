"""What interventions know of the training in their process, by the names that findings carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from edgeglass_diag.record.naming import Naming
from edgeglass_diag.replaying.interventions.means import Training


class LiveTraining(Training):
    """The models that are called with gradients; torch's numbers are drawn as without the calls.

    Its hook lies before all modules while it is attached, and stays there for the life of the process of a replay.
    """

    def __init__(self) -> None:
        self._naming = Naming()
        self._met: WeakSet[nn.Module] = WeakSet()
        self._calls: list[Callable[[nn.Module], None]] = []

    def attach(self) -> Any:
        """Begin to look for models; return the handle by which that ends."""
        return register_module_forward_pre_hook(self._begins)

    def parameters(self, site: str = "") -> Iterable[tuple[str, Tensor]]:
        """Return the named parameters of all models that ran, or that of one name."""
        return [(name, each) for name, each in self._naming.named_parameters if site in ("", name)]

    def module(self, site: str) -> nn.Module | None:
        """Return the module at a path; None where none has run there."""
        return dict(self._naming.modules).get(site)

    def before_first_pass(self, call: Callable[[nn.Module], None]) -> None:
        """Call with each model before its first forward pass with gradients, when its initial values are there."""
        self._calls.append(call)

    def _begins(self, module: nn.Module, _: Any) -> None:
        if not torch.is_grad_enabled() or any(module is known for _, known in self._naming.modules):
            return
        self._naming.path(module)
        new = [each for _, each in self._naming.modules if self._naming.is_model(each) and each not in self._met]
        self._met.update(new)
        with torch.random.fork_rng(), torch.no_grad():
            for call, model in product(self._calls, new):
                call(model)
