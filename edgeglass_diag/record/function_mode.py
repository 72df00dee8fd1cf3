"""The source of the event ``function_called``: one function mode, and a table of handlers by function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._C import _len_torch_function_stack
from torch.nn.functional import multi_head_attention_forward
from torch.nn.parameter import Parameter
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from edgeglass_diag.record.boundary import entry, question
from edgeglass_diag.record.call_site import caller
from edgeglass_diag.record.nested import WITHOUT_TENSORS, has_foreign, tensors_in
from edgeglass_diag.record.observer import BY_EFFECT, EVERY_FUNCTION, Function, FunctionHandler, Observer
from edgeglass_diag.record.profiler_ranges import RECORDER, is_profiled, span
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.sites import Coverage, RecorderSite

_Handlers = tuple[tuple[str, FunctionHandler], ...]
"""What is called after a function, and the path of the recorder's site at which a failure of it is noted."""

_USER = 3
"""Frames from ``_Mode._seen`` to the code that has called a function: the boundary and the mode lie in between."""

_grad: Any = Tensor.grad
_OF_GRADIENTS: frozenset[Function] = frozenset({_grad.__get__, _grad.__set__})
"""How an optimizer reads and clears the gradient of each weight, which is followed by no handler."""


def _unchecked(function: Any) -> FunctionType:
    """Return the same function without its own dispatch to modes, which would call itself for ever inside of one.

    What else it calls is what its module holds now: programs put an attention of their own in the place of torch's.
    """
    names = {**function.__globals__, "has_torch_function": lambda *_: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_COMPOSITE: frozenset[Function] = frozenset({multi_head_attention_forward})
"""Python functions that call others worth seeing: run inside the mode, or what they call stays unseen."""


class Handlers:
    """What is called after one function.

    Args:
        every: handlers of every function.
        single: those of this one.
        by_effect: whether it matters for what it does, whatever it gives out.

    Attributes:
        all: what is called where it gives out what may hold a tensor.
        otherwise: what is called where it does not.
    """

    __slots__ = ("all", "otherwise")

    def __init__(self, every: _Handlers = (), single: _Handlers = (), *, by_effect: bool = False) -> None:
        self.all = (*every, *single)
        self.otherwise = self.all if by_effect else single


class HandlerTable:
    """Handlers by function, in the order of the observers; those of every function come first."""

    def __init__(self, tables: Sequence[tuple[str, Mapping[Function, FunctionHandler]]]) -> None:
        every = _handlers(tables, EVERY_FUNCTION)
        functions = BY_EFFECT.union(*(table for _, table in tables))
        self._every = Handlers(every)
        self._single = {
            function: Handlers(every, _handlers(tables, function), by_effect=function in BY_EFFECT)
            for function in functions
        }

    def of(self, function: Function) -> Handlers:
        """Return what is called after a call of this function."""
        return self._single.get(function, self._every)


def _handlers(tables: Sequence[tuple[str, Mapping[Function, FunctionHandler]]], function: Function) -> _Handlers:
    return tuple((name, table[function]) for name, table in tables if function in table)


class FunctionMode:
    """Puts a mode below all modes of the user, so that theirs may come and go inside a window.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._mode = _Mode(recording)
        self._is_held = False
        self._evaluation: Sequence[tuple[str, Mapping[Function, FunctionHandler]]] = ()

    def observe_evaluations(
        self, table: Mapping[Function, FunctionHandler], concerns: Callable[[tuple[Any, ...]], bool]
    ) -> None:
        """Call these handlers too in an evaluation, from the next ``observe_for`` on.

        Args:
            table: the handlers.
            concerns: whether positional arguments have something of an evaluation among them.
        """
        self._evaluation = [("evaluation", table)]
        self._mode.concerns = concerns

    def observe_for(self, observers: Sequence[Observer]) -> None:
        """Call the handlers of these observers, and of no others, from now on."""
        in_any_phase = [("functions", observer.functions_in_any_phase) for observer in observers]
        in_training = [("functions", observer.functions) for observer in observers]
        self._mode.in_any_phase = HandlerTable(in_any_phase)
        self._mode.in_training = HandlerTable([*in_any_phase, *in_training])
        self._mode.in_evaluation = HandlerTable([*in_any_phase, *self._evaluation])
        self._mode.followers = [observer for observer in observers if follows(type(observer))]

    def doze(self, dozes: bool) -> None:
        """Observe of the rest of an evaluation, whose first passes were looked at, only what is made of these."""
        self._mode.dozes = dozes

    def attach(self) -> None:
        """Put the mode in place: always the same object, or torch.compile would compile anew for each window.

        Modes belong to a thread: training in another thread than the one that began the watch is seen from its
        second window on.
        """
        if not self._mode.is_attached:
            self._mode.is_attached, self._mode.dozes = True, False
            self._put()

    def detach(self) -> None:
        """Take the mode away; where another thread put it in place, it only passes calls through."""
        self._mode.is_attached = False
        self._take()

    def hold(self) -> None:
        """Have the mode off this thread until ``release``, whether it is attached or not."""
        self._is_held = True
        self._take()

    def release(self) -> None:
        """Put the mode back where it is attached."""
        self._is_held = False
        if self._mode.is_attached:
            self._put()

    def _put(self) -> None:
        modes = _get_current_function_mode_stack()
        if not self._is_held and not any(mode is self._mode for mode in modes):
            # torch.set_default_device insists on the lowest place
            device = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
            lowest = 1 if modes and device is not None and modes[0] is device else 0
            _replace_modes([*modes[:lowest], self._mode, *modes[lowest:]])

    def _take(self) -> None:
        modes = _get_current_function_mode_stack()
        if any(mode is self._mode for mode in modes):
            _replace_modes([mode for mode in modes if mode is not self._mode])


class _Mode(TorchFunctionMode):
    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.boundary = recording.boundary
        self.is_attached = self.dozes = False
        self.concerns: Callable[[tuple[Any, ...]], bool] = bool
        self.in_any_phase = HandlerTable([])
        self.in_training = HandlerTable([])
        self.in_evaluation = HandlerTable([])
        self.followers: Sequence[Observer] = ()
        self._stack, self._sites = recording.stack, recording.sites

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        seen = self._seen(func, types, args)
        if seen is None:
            return func(*args, **keywords)
        known, call = seen
        if known is None:
            with self:
                return call(*args, **keywords)
        result = call(func, args, keywords)
        handlers = known.all if type(result) is Tensor else self._after(known, result)
        if handlers:
            self._observe(handlers, func, args, keywords, result)
        return result

    @question("functions")
    def _seen(
        self, func: Function, types: Iterable[type], args: tuple[Any, ...]
    ) -> tuple[Handlers | None, Callable[..., Any]] | None:
        """Return what is called after a function, and what calls it in the name of the line that has called it.

        Without the former the latter is called in its place; None where the function is not observed.
        """
        # Asked first: torch.compile follows these lines no further.
        if torch.compiler.is_compiling() or not self.is_attached or self.boundary.is_closed:
            return None
        if func in _OF_GRADIENTS and type(args[0]) is Parameter:
            return None
        if self.boundary.clock.is_out_of_sight:
            return None
        if self.dozes and not self._stack.has_gradients and not self.concerns(args):
            return None
        if types and not all(issubclass(kind, Tensor) for kind in types):
            return None  # proxies of a tracer
        if isinstance(func, FunctionType) and func in _COMPOSITE and not any(map(_overrides, types)):
            return None, _unchecked(func)
        call = caller(sys._getframe(_USER))
        evaluates = self._stack.is_evaluation
        # Ranked behind the no_grad block; what asks for a gradient, as cached embeddings do, is a part of training.
        if self._stack.is_training and not (evaluates and self.concerns(args) and not _ask_for_gradients(args)):
            return self.in_training.of(func), call
        return (self.in_evaluation if evaluates else self.in_any_phase).of(func), call

    @question("functions")
    def _after(self, handlers: Handlers, result: object) -> _Handlers:
        if type(result) not in WITHOUT_TENSORS or any(observer.follows_uses for observer in self.followers):
            return handlers.all
        return handlers.otherwise

    @entry("functions")
    def _observe(
        self, handlers: _Handlers, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        if has_foreign((*args, *kwargs.values(), result)):
            self._sites.cannot_observe(RecorderSite(path="functions"), Coverage.FOREIGN_TENSOR)
            return
        if not is_profiled():  # no block around it where none is shown: this runs for each function of torch
            self.boundary.each(handlers, None, func, args, kwargs, result)
            return
        with span(RECORDER):
            self.boundary.each(handlers, None, func, args, kwargs, result)


def follows(observer: type[Observer]) -> bool:
    """Return whether observers of this class may follow functions that give out no tensor."""
    return observer.follows_uses is not Observer.follows_uses


def _ask_for_gradients(args: tuple[Any, ...]) -> bool:
    return any(tensor.requires_grad for tensor in tensors_in(args))


def _overrides(kind: type) -> bool:
    """Return whether a subclass of Tensor has functions of torch pass through a method of its own."""
    own: Any = kind.__torch_function__  # type: ignore[attr-defined]
    return getattr(own, "__func__", own) is not Tensor.__torch_function__.__func__  # type: ignore[attr-defined]


def _replace_modes(modes: Sequence[TorchFunctionMode]) -> None:
    """Put these in the place of all function modes of this thread, lowest first, whether Ctrl-C comes or not."""
    try:
        _put_modes(modes)
    except BaseException:
        _put_modes(modes)
        raise


def _put_modes(modes: Sequence[TorchFunctionMode]) -> None:
    for _ in range(_len_torch_function_stack()):
        _pop_mode()
    for mode in modes:
        _push_mode(mode)
