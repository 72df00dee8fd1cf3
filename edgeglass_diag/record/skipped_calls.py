"""Module hooks that are away while one model runs, whose inside is of no matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from edgeglass_diag.record.boundary import Boundary, entry
from edgeglass_diag.record.module_tree import own_content


class SkippedCall:
    """A call of a model that is not looked into: a hook of its own, gone with it, says when it is over.

    Args:
        boundary: of the watch.
        is_over: called when it has returned or raised.
    """

    def __init__(self, boundary: Boundary, is_over: Callable[[], None]) -> None:
        self.boundary, self._is_over = boundary, is_over
        self._handle: RemovableHandle | None = None

    def begin(self, module: nn.Module) -> bool:
        """Begin with a call that is about to run; return whether it can be followed: not where its code is compiled."""
        own = object.__getattribute__(module, "__dict__")
        compiled = "_orig_mod" in own_content(module, "_modules") or own.get("_compiled_call_impl") is not None
        if compiled or isinstance(module, torch.jit.ScriptModule):
            return False
        self.cancel()
        self._handle = nn.Module.register_forward_hook(module, self._end, always_call=True)
        return True

    def cancel(self) -> None:
        """Forget the call."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.remove()

    @entry("modules")
    def _end(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if self._handle is not None:
            self.cancel()
            self._is_over()
