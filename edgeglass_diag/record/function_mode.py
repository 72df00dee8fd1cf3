"""The source of the event ``function_called``: one function mode, and a table of handlers by function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import multi_head_attention_forward
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer
from edgeglass_diag.record.profiler_ranges import RECORDER, span
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.sites import Kind

_Handlers = tuple[FunctionHandler, ...]


def _unchecked(function: Any) -> Function:
    """Return the same function without its own dispatch to modes, which would call itself for ever inside of one."""
    names = {**function.__globals__, "has_torch_function": lambda *_: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_COMPOSITE: dict[Function, Function] = {multi_head_attention_forward: _unchecked(multi_head_attention_forward)}
"""Python functions that call others worth seeing: run inside the mode, or what they call stays unseen."""


class HandlerTable:
    """Handlers by function, in the order of the observers; those of every function come first."""

    def __init__(self, tables: Sequence[Mapping[Function, FunctionHandler]]) -> None:
        self._every = _handlers(tables, EVERY_FUNCTION)
        functions = {function for table in tables for function in table}
        self._single = {function: (*self._every, *_handlers(tables, function)) for function in functions}

    def of(self, function: Function) -> _Handlers:
        """Return what is called after a call of this function."""
        return self._single.get(function, self._every)


def _handlers(tables: Sequence[Mapping[Function, FunctionHandler]], function: Function) -> _Handlers:
    return tuple(table[function] for table in tables if function in table)


class FunctionMode:
    """Puts a mode below all modes of the user, so that theirs may come and go inside a window.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._mode = _Mode(recording)

    def observe_for(self, observers: Sequence[Observer]) -> None:
        """Call the handlers of these observers, and of no others, from now on."""
        in_any_phase = [observer.functions_in_any_phase for observer in observers]
        in_training = [observer.functions for observer in observers]
        self._mode.in_any_phase = HandlerTable(in_any_phase)
        self._mode.in_training = HandlerTable([*in_any_phase, *in_training])

    def attach(self) -> None:
        """Put the mode in place: always the same object, or torch.compile would compile anew for each window.

        Modes belong to a thread: training in another thread than the one that began the watch is seen from its
        second window on.
        """
        if not self._mode.is_attached:
            self._mode.is_attached = True
            if self._mode not in _get_current_function_mode_stack():
                _insert_at_bottom(self._mode)

    def detach(self) -> None:
        """Take the mode away; where another thread put it in place, it only passes calls through."""
        self._mode.is_attached = False
        _remove(self._mode)


class _Mode(TorchFunctionMode):
    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.is_attached = False
        self.in_any_phase = HandlerTable([])
        self.in_training = HandlerTable([])
        self._clock, self._stack, self._sites = recording.clock, recording.stack, recording.sites

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if (
            not self.is_attached
            or self._clock.cannot_observe_now
            or any(not issubclass(kind, Tensor) for kind in types)
        ):
            return func(*args, **keywords)  # others than tensors are the proxies of a tracer
        if isinstance(func, FunctionType) and func in _COMPOSITE:
            with self:
                return _COMPOSITE[func](*args, **keywords)
        table = self.in_training if self._stack.is_training else self.in_any_phase
        result = func(*args, **keywords)
        with span(RECORDER):
            for handler in table.of(func):
                try:
                    handler(func, args, keywords, result)
                except Exception as error:
                    self._sites.failed(error, "functions", Kind.RECORDER)
        return result


def _insert_at_bottom(mode: TorchFunctionMode) -> None:
    above = [_pop_mode() for _ in _get_current_function_mode_stack()]
    if above and above[-1] is getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None):
        _push_mode(above.pop())  # torch.set_default_device insists on the lowest place
    _push_mode(mode)
    for other in reversed(above):
        _push_mode(other)


def _remove(mode: TorchFunctionMode) -> None:
    above = [_pop_mode() for _ in _get_current_function_mode_stack()]
    for other in reversed(above):
        if other is not mode:
            _push_mode(other)
