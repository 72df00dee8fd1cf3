"""Watches modules compiled by torch.compile, whose inside hooks cannot enter."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgeglass_diag.record.boundary import Boundary, entry, question, unobservable
from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.patching import Patch


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a compiled module, which may be part of a model that is not looked into (``resting``)."""

    module: nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    resting: nn.Module | None = None


class CompiledModules:
    """While a module wrapped by ``torch.compile`` runs no source of events is in place, so that nothing recompiles.

    Its own inputs and outputs are measured at the border. Functions compiled alone and ``module.compile()`` have
    no such border; they are compiled a second time, with hooks that pass everything through.
    ``torch._dynamo`` is not imported before the user's code does.

    Args:
        boundary: of the watch.
        modules: takes the border of a compiled module for a module call.
        sources: all of the watch.
    """

    def __init__(self, boundary: Boundary, modules: ModuleHooks, sources: EventSources) -> None:
        self.boundary = boundary
        self._modules, self._sources = modules, sources
        self._compiling = Patch(torch, "compile", self._begin_compiling, self._end_compiling)
        self._calling: Patch | None = None

    def attach(self) -> None:
        """Begin to watch calls of compiled modules, and the function that makes them."""
        self._install()
        self._compiling.attach()

    def remove(self) -> None:
        """Cease to watch them."""
        self._compiling.remove()
        if self._calling is not None:
            self._calling.remove()
            self._calling = None

    def _install(self) -> None:
        dynamo = sys.modules.get("torch._dynamo.eval_frame")
        if dynamo is not None:
            if self._calling is None:
                self._calling = Patch(dynamo.OptimizedModule, "__call__", self._begin_call, self._end_call)
            self._calling.attach()

    @question("compiled")
    def _begin_compiling(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return True

    @entry("compiled")
    def _end_compiling(self, begun: bool, result: object, raised: bool) -> None:
        self._install()

    @entry("compiled", unless=unobservable)
    def _begin_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        return self._call(args[0], args[1:], kwargs) if self._modules.is_attached else None

    def _call(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> _Call | None:
        if self.boundary.clock.resting is not None:
            self._modules.detach()
            return _Call(module, arguments, keywords, self.boundary.clock.resting)
        self._modules.enter(module, arguments)
        if not self._sources.attached:  # one forward pass too many, or a window that is not recorded
            return None
        self._sources.detach()
        return _Call(module, arguments, keywords)

    @entry("compiled", always=True)
    def _end_call(self, call: _Call, result: object, raised: bool) -> None:
        if call.resting is not None:
            self._modules.attach()
            self.boundary.clock.resting = call.resting
            return
        if not self.boundary.is_closed:
            self._sources.attach()
        self._modules.leave(call.module, call.arguments, call.keywords, result)
