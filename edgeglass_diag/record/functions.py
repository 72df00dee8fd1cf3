"""Sees torch functions while a window is recorded: one mode, a table of observers, and the lineage of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import multi_head_attention_forward
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from edgeglass_diag.record.profiler_ranges import RECORDER, span
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.tensor_sources import tensors_in
from edgeglass_diag.sites import Kind

Function = Callable[..., Any]
Observer = Callable[[Function, tuple[Any, ...], dict[str, Any], Any], None]
"""Called after the function with (function, args, kwargs, result), outside of the mode."""


def _unchecked(function: Any) -> Function:
    """The same function without its own dispatch to modes, which would call itself for ever inside of one."""
    names = {**function.__globals__, "has_torch_function": lambda *_: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_COMPOSITE: dict[Function, Function] = {multi_head_attention_forward: _unchecked(multi_head_attention_forward)}
"""Python functions that call others worth seeing: run inside the mode, or what they call stays unseen."""


_CLEARING = {"__get__", "__set__", "zero_", "_foreach_zero_", "detach_", "requires_grad_"}
"""Names of what ``zero_grad`` does with a gradient."""

_grad: Any = Tensor.grad
_GRADIENT: Function = _grad.__get__


def merged(*tables: Mapping[Function, Observer]) -> dict[Function, Observer]:
    """One table of observers; a function in several tables is told to each, in their order."""
    result: dict[Function, Observer] = {}
    for table in tables:
        for function, observer in table.items():
            result[function] = _both(result[function], observer) if function in result else observer
    return result


def _both(first: Observer, second: Observer) -> Observer:
    def observe(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        first(func, args, kwargs, result)
        second(func, args, kwargs, result)

    return observe


class FunctionTap:
    """Puts the mode below all modes of the user, so that theirs may come and go inside a window.

    Args:
        session: state of the watch.
        observers: called for training-time calls, by function.
        always: called for calls of any phase, by function (construction).
    """

    def __init__(self, session: Session, observers: Mapping[Function, Observer], always: Mapping[Function, Observer]):
        self._mode = _Mode(session, observers, always)

    def attach(self) -> None:
        """Put the mode in place: always the same object, or torch.compile would compile anew for each window.

        Modes belong to a thread: training in another thread than the one that began the watch is seen from its
        second window on.
        """
        if not self._mode.observing:
            self._mode.observing = True
            if self._mode not in _get_current_function_mode_stack():
                _insert_at_bottom(self._mode)

    def detach(self) -> None:
        """Take the mode away; where another thread put it in place, it only passes calls through."""
        self._mode.observing = False
        _remove(self._mode)


class _Mode(TorchFunctionMode):
    def __init__(self, session: Session, observers: Mapping[Function, Observer], always: Mapping[Function, Observer]):
        super().__init__()
        self.observing = False
        self._session, self._observers, self._always = session, observers, always

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if not self.observing or self._session.blind or any(not issubclass(kind, Tensor) for kind in types):
            return func(*args, **keywords)  # others than tensors are the proxies of a tracer
        if isinstance(func, FunctionType) and func in _COMPOSITE:
            with self:
                return _COMPOSITE[func](*args, **keywords)
        active = self._session.active
        result = func(*args, **keywords)
        try:
            with span(RECORDER):
                self._observe(func, args, keywords, result, active=active)
        except Exception as error:
            self._session.sites.failed(error, "functions", Kind.RECORDER)
        return result

    def _observe(
        self, func: Function, args: tuple[Any, ...], keywords: dict[str, Any], result: Any, *, active: bool
    ) -> None:
        session = self._session
        if session.gradients:
            if getattr(func, "__name__", "") not in _CLEARING:
                session.use(tensors_in([args, keywords]))
            elif func == _GRADIENT and not isinstance(args[0], Parameter):
                session.gradients.clear()  # the pass was made for the gradient of an input
        if func in self._always:
            self._always[func](func, args, keywords, result)
        if active:
            self._follow(list(tensors_in([args, keywords])), result)
            if func in self._observers:
                self._observers[func](func, args, keywords, result)

    def _follow(self, arguments: list[Tensor], result: Any) -> None:
        if isinstance(result, Tensor):
            self._session.lineage.inherit(result, arguments)
        elif isinstance(result, (tuple, list)):
            for tensor in tensors_in(result):
                self._session.lineage.inherit(tensor, arguments)


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
