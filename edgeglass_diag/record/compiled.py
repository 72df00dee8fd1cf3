"""Watches what torch.compile has compiled, whose inside hooks and modes cannot enter."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any

import torch
from torch import nn

from edgeglass_diag.record.boundary import Boundary, elsewhere, entry, question, unobservable
from edgeglass_diag.record.compiled_calls import CompiledCalls
from edgeglass_diag.record.event_sources import EventSources
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.record.optimizer_steps import STEP_CODE
from edgeglass_diag.record.patching import Patch

_FRAMES = 8
"""Frames between what calls compiled code and what is called as it begins; torch and the boundary have six."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a compiled module; ``is_border`` where its inputs and outputs are those of a module call."""

    module: nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    is_border: bool


class CompiledModules:
    """While compiled code runs neither hooks nor the function mode are in place, so that nothing recompiles.

    torch.compile guards what it compiles by the global hooks and by the modes of the thread. A module wrapped by
    ``torch.compile`` is measured at its border as any module call. Functions compiled alone and ``module.compile()``
    have no such border. What the recorder itself does between graphs, as at a backward pass in a compiled function, is
    left out of compilation. ``torch._dynamo`` is not imported before the user's code does.

    Args:
        boundary: of the watch.
        modules: takes the border of a compiled module for a module call.
        functions: the mode.
        sources: all of the watch.
    """

    def __init__(
        self, boundary: Boundary, modules: ModuleHooks, functions: FunctionMode, sources: EventSources
    ) -> None:
        self.boundary = boundary
        self._modules, self._functions, self._sources = modules, functions, sources
        self._depth = 0
        self._compiling = Patch(torch, "compile", self._begin_compiling, self._end_compiling)
        self._calling: Patch | None = None
        self._calls: CompiledCalls | None = None

    def attach(self) -> None:
        """Begin to watch calls of compiled code, and the function that makes it."""
        self._install()
        self._compiling.attach()

    def remove(self) -> None:
        """Cease to watch them."""
        self._compiling.remove()
        if self._calling is not None:
            self._calling.remove()
            self._calling = None
        if self._calls is not None:
            self._calls.remove()
            self._calls = None

    def _install(self) -> None:
        dynamo = sys.modules.get("torch._dynamo.eval_frame")
        if dynamo is None:
            return
        if self._calling is None:
            self._calling = Patch(dynamo.OptimizedModule, "__call__", self._begin_call, self._end_call)
            self._calls = CompiledCalls(dynamo._TorchDynamoContext, self._begin_region, self._end_region)
            self._calls.attach()
        self._calling.attach()
        _leave_out(dynamo, _codes(self._begin_call, self._begin_compiling), [self._calling.code, STEP_CODE])

    @question("compiled")
    def _begin_compiling(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return True

    @entry("compiled")
    def _end_compiling(self, begun: bool, result: object, raised: bool) -> None:
        self._install()

    @entry("compiled", unless=elsewhere)
    def _begin_region(self) -> bool:
        """Have nothing in place that compiled code is guarded by, but where flex attention runs uncompiled."""
        if _calls_flex_attention():
            return False
        if self._depth == 0:
            self.boundary.clock.has_run_compiled = True
        self._hold()
        return True

    @entry("compiled", always=True)
    def _end_region(self) -> None:
        self._release()

    @entry("compiled", unless=unobservable)
    def _begin_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        if not self._modules.is_attached or self._modules.is_held:
            return None
        module, arguments = args[0], args[1:]
        is_border = self.boundary.clock.resting is None
        if is_border:
            self._modules.enter(module, arguments)
            if not self._sources.attached:  # one forward pass too many, or a window that is not recorded
                return None
        self._hold()
        return _Call(module, arguments, kwargs, is_border)

    @entry("compiled", always=True)
    def _end_call(self, call: _Call, result: object, raised: bool) -> None:
        self._release()
        if call.is_border:
            self._modules.leave(call.module, call.arguments, call.keywords, result)

    def _hold(self) -> None:
        self._depth += 1
        if self._depth == 1:
            try:
                self._modules.hold()
                self._functions.hold()
            except BaseException:
                self._release()
                raise

    def _release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._modules.release()
            self._functions.release()


def _calls_flex_attention() -> bool:
    """Return whether it is flex attention that compiles here, which traces itself and then runs as it is, seen."""
    flex = sys.modules.get("torch.nn.attention.flex_attention")
    if flex is None:
        return False
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_code is flex.flex_attention.__code__:
            return True
        frame = frame.f_back
    return False


def _codes(*methods: Any) -> list[CodeType]:
    """Return the code of the entries of the boundary: one for all methods of a kind."""
    return [method.__func__.__code__ for method in methods if isinstance(method.__func__, FunctionType)]


def _leave_out(dynamo: Any, entries: Sequence[CodeType], around: Sequence[CodeType | None]) -> None:
    """Let torch.compile compile neither the entries of the boundary nor what they call.

    Args:
        dynamo: its module of frames.
        entries: codes of the entries. Before torch 2.8 what they call is not told apart from them.
        around: codes of what calls them and the user's code: patches, and the wrapper of optimizer steps.
    """
    strategy = getattr(dynamo, "FrameExecStrategy", None)
    for code in around:
        if code is not None:
            dynamo.skip_code(code)
    for code in entries:
        if strategy is None:
            dynamo.skip_code(code)
        else:
            dynamo.set_code_exec_strategy(code, strategy(dynamo.FrameAction.SKIP, dynamo.FrameAction.SKIP))
