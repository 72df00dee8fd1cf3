"""Watches modules compiled by torch.compile, whose inside hooks cannot enter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.patching import Patch
from edgeglass_diag.record.window_clock import WindowClock


class CompiledModules:
    """While a module wrapped by ``torch.compile`` runs no source of events is in place, so that nothing recompiles.

    Its own inputs and outputs are measured at the border. Functions compiled alone and ``module.compile()`` have
    no such border; they are compiled a second time, with hooks that pass everything through.
    ``torch._dynamo`` is not imported before the user's code does.

    Args:
        clock: tells whether anything can be observed now.
        modules: takes the border of a compiled module for a module call.
        sources: all of the watch.
    """

    def __init__(self, clock: WindowClock, modules: ModuleHooks, sources: EventSources) -> None:
        self._clock, self._modules, self._sources = clock, modules, sources
        self._compiling = Patch(torch, "compile", self._compile)
        self._calling: Patch | None = None

    def __enter__(self) -> CompiledModules:
        self._install()
        self._compiling.attach()
        return self

    def __exit__(self, *exception: object) -> None:
        self._compiling.remove()
        if self._calling is not None:
            self._calling.remove()
            self._calling = None

    def _install(self) -> None:
        dynamo = sys.modules.get("torch._dynamo.eval_frame")
        if dynamo is not None and self._calling is None:
            self._calling = Patch(dynamo.OptimizedModule, "__call__", self._call)
            self._calling.attach()

    def _compile(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        compiled = original(*args, **kwargs)
        self._install()
        return compiled

    def _call(self, original: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not self._sources.attached or self._clock.cannot_observe_now:
            return original(module, *args, **kwargs)
        self._modules.enter(module, args)
        output = None
        with self._sources.detached():
            try:
                output = original(module, *args, **kwargs)
            finally:
                self._modules.leave(module, args, kwargs, output)
        return output


def is_compiled(module: nn.Module) -> bool:
    """Return whether calls of this module run compiled code."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
