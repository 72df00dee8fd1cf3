"""What interventions know of the training in their process, by the names that findings carry."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.naming import Naming
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.records import SourceLine
from edgeglass_diag.replaying.interventions.means import Training
from edgeglass_diag.replaying.interventions.places import line_of_program
from edgeglass_diag.site_paths import is_within

_OF_COMPILED = r"Using `torch.compile\(module\)` when there are global hooks"
"""Said by torch of compiled modules where there are hooks as ours, which pass by what runs inside of them."""


class LiveTraining(Training):
    """The models that are called with gradients, and the optimizers and schedulers that are made.

    What it puts in place stays there for the life of the process of a replay. torch's numbers are drawn as without it.
    """

    def __init__(self) -> None:
        self._naming = Naming()
        self._met: Facts[nn.Module, bool] = Facts()
        self._calls: list[Callable[[nn.Module], None]] = []
        self._optimizers: WeakKeyDictionary[Optimizer, SourceLine | None] = WeakKeyDictionary()
        self._schedulers: WeakKeyDictionary[Any, SourceLine | None] = WeakKeyDictionary()
        self._taken_away: list[Callable[[], object]] = []

    def attach(self, *, models: bool = True) -> None:
        """Begin to look for optimizers and schedulers.

        Args:
            models: look for models too, by a hook that lies before all modules.
        """
        self._note(Optimizer, self._optimizers)
        self._note(LRScheduler, self._schedulers)
        self._note(ReduceLROnPlateau, self._schedulers)
        if models:
            warnings.filterwarnings("ignore", message=_OF_COMPILED)
            self._taken_away.append(register_module_forward_pre_hook(self._begins).remove)

    def remove(self) -> None:
        """Take away what was put in place."""
        while self._taken_away:
            self._taken_away.pop()()

    def parameters(self, site: str = "") -> Iterable[tuple[str, Tensor]]:
        """Return the named parameters of all models that ran: all, or those whose path is ``site`` or begins with it.

        A parameter that lies at several places is there once.
        """
        named = {id(each): (name, each) for name, each in self._naming.named_parameters}
        return [(name, each) for name, each in named.values() if is_within(name, site)]

    def module(self, site: str) -> nn.Module | None:
        """Return the module at a path; None where none has run there."""
        return dict(self._naming.modules).get(site)

    def before_first_pass(self, call: Callable[[nn.Module], None]) -> None:
        """Call with each model before its first forward pass with gradients, when its initial values are there.

        A model that gets parts later is given again as the first of them runs. What torch draws on the CPU meanwhile
        leaves the program's numbers as they are; draws on other devices need a generator of their own. What is written
        is none of the program's writes, and is recorded as its effects alone.
        """
        self._calls.append(call)

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """The optimizers that are alive, in the order in which they were made."""
        return list(self._optimizers)

    def line_of(self, made: object) -> SourceLine | None:
        """Return the line of the program that made an optimizer or a scheduler; None where that is not known."""
        return self._optimizers.get(made) or self._schedulers.get(made)  # type: ignore[call-overload]

    def line_of_schedule(self, optimizer: Optimizer) -> SourceLine | None:
        """Return the line of the program that made the first scheduler of an optimizer; None where there is none."""
        own = (line for made, line in self._schedulers.items() if vars(made).get("optimizer") is optimizer)
        return next(own, None)

    def _note(self, kind: type, lines: WeakKeyDictionary[Any, SourceLine | None]) -> None:
        def made(called: tuple[Any, ...], _: Any, raised: bool) -> None:
            if not raised:
                lines[called[0]] = line_of_program(called[0])

        patch = Patch(kind, "__init__", lambda args, _: args, made)
        patch.attach()
        self._taken_away.append(patch.remove)

    def _begins(self, module: nn.Module, _: Any) -> None:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled() or module in self._met:
            return
        self._naming.path(module)
        roots = [each for _, each in self._naming.modules if self._naming.is_model(each)]
        new = [root for root in roots if any(part not in self._met for part in root.modules())]
        for part in (module, *(part for root in new for part in root.modules())):
            self._met.set(part, True)
        with torch.random.fork_rng(devices=()), torch.no_grad(), torch._C.DisableTorchFunction():
            for call, model in product(self._calls, new):
                call(model)
