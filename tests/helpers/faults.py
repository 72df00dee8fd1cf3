"""Functions of the package, found by introspection, and faults that are put into them one at a time."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections import Counter
from contextlib import contextmanager
from types import CodeType, FunctionType

_PLACE = "where the fault is put"


class InjectedError(RuntimeError):
    """A fault of the test."""


def functions_of(*names):
    """Return all functions and methods that these modules, or the modules of these packages, define by qualified name.

    Of a property it is the getter, of a decorated function the one that is decorated.
    """
    found = {}
    for name in names:
        place = importlib.import_module(name)
        inside = pkgutil.iter_modules(getattr(place, "__path__", ()), name + ".")
        for module in [place, *(importlib.import_module(info.name) for info in inside)]:
            for value in vars(module).values():
                if getattr(value, "__module__", None) == module.__name__:
                    members = vars(value).values() if inspect.isclass(value) else [value]
                    own = filter(None, map(_function, members))
                    for function in (f for f in own if f.__code__.co_filename == module.__file__):  # not of a dataclass
                        found[f"{module.__name__.rpartition('.')[2]}.{function.__qualname__}"] = function
    return found


def _function(member):
    member = member.fget if isinstance(member, property) else member
    member = getattr(member, "__func__", member)
    member = inspect.unwrap(member) if callable(member) else None
    return member if isinstance(member, FunctionType) and member.__name__ != "<lambda>" else None


def _stub(*args, **kwargs):
    place = "where the fault is put"
    return place(args, kwargs)


@contextmanager
def in_place_of(function, called):
    """A block in which ``called(original, args, kwargs)`` runs in the place of a function, wherever that is bound."""
    code: CodeType = function.__code__
    original = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    original.__kwdefaults__ = function.__kwdefaults__
    constants = tuple(
        functools.partial(called, original) if constant == _PLACE else constant for constant in _stub.__code__.co_consts
    )
    function.__code__ = _stub.__code__.replace(co_consts=constants, co_freevars=code.co_freevars)
    try:
        yield
    finally:
        function.__code__ = code


class Fault:
    """Raises at the first call, at the third, at every one, or at every one when it has done its work."""

    MODES = ("first", "third", "every", "after")

    def __init__(self, mode):
        self.mode, self.calls = mode, 0

    def __call__(self, original, args, kwargs):
        self.calls += 1
        if self.mode == "every" or self.calls == {"first": 1, "third": 3}.get(self.mode):
            raise InjectedError(f"{self.mode} call")
        result = original(*args, **kwargs)
        if self.mode == "after":
            raise InjectedError("after its work")
        return result


@contextmanager
def counted(functions):
    """A block in which the calls of functions, by name, are counted."""
    calls = Counter()
    blocks = [in_place_of(function, functools.partial(_count, calls, name)) for name, function in functions.items()]
    for block in blocks:
        block.__enter__()
    try:
        yield calls
    finally:
        for block in reversed(blocks):
            block.__exit__(None, None, None)


def _count(calls, name, original, args, kwargs):
    calls[name] += 1
    return original(*args, **kwargs)
