"""Calls of torch's functions that are made another way, so that the recorder sees the changed call."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

Call = Callable[..., Any]
Change = Callable[[Call, tuple[Any, ...], dict[str, Any]], Any]
"""Called in place of a function, with the function itself and the arguments that it was given."""

_CALLS = "__edgeglass_diag_calls__"
"""Name in the globals of a changed function under which what it calls is kept."""

_put_back: list[Callable[[], None]] = []
_inside = threading.local()


def change_calls(owner: Any, name: str, change: Change, *, nested: bool = False) -> None:
    """Let ``change`` be called in place of ``owner.name``, for the life of the process.

    With ``nested`` it is also called within a call of the same function, as modules call modules; never so where torch
    may hand the function to a function mode, which calls it again.

    A function that is written in Python stays the same object and gets other code: whoever holds it calls the changed
    one, and torch hands that object to function modes, which know it. Of one that is built in, the attribute is
    replaced: who took it before keeps the old one.
    """
    original = getattr(owner, name)
    if isinstance(original, FunctionType):
        _change_code(original, change, nested)
        return

    @functools.wraps(original)
    def changed(*args: Any, **kwargs: Any) -> Any:
        return change(original, args, kwargs)

    inherited = name not in vars(owner)
    setattr(owner, name, changed)
    _put_back.append(lambda: delattr(owner, name) if inherited else setattr(owner, name, original))


def put_all_back() -> None:
    """Make all functions what they were, in reverse order; a test does so."""
    while _put_back:
        _put_back.pop()()


def _change_code(original: FunctionType, change: Change, nested: bool) -> None:
    """Give a function the code of a call of ``change``.

    Without ``nested`` a call that is made while one of it goes on, as torch makes it where function modes are on, is
    the original's.
    """
    code, defaults, keywords = original.__code__, original.__defaults__, original.__kwdefaults__
    copy = FunctionType(code, original.__globals__, original.__name__, defaults, original.__closure__)
    copy.__kwdefaults__ = keywords
    key = f"{original.__module__}.{original.__qualname__}#{len(_put_back)}"

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        active: set[str] = vars(_inside).setdefault("active", set())
        if nested:
            return change(copy, args, kwargs)
        if key in active:
            return copy(*args, **kwargs)
        active.add(key)
        try:
            return change(copy, args, kwargs)
        finally:
            active.discard(key)

    original.__globals__.setdefault(_CALLS, {})[key] = call
    place: dict[str, FunctionType] = {}
    exec(f"def changed(*args, **kwargs):\n    return {_CALLS}[{key!r}](args, kwargs)", original.__globals__, place)
    original.__code__ = place["changed"].__code__.replace(co_name=code.co_name, co_qualname=code.co_qualname)
    original.__defaults__ = original.__kwdefaults__ = None

    def put_back() -> None:
        original.__code__, original.__defaults__, original.__kwdefaults__ = code, defaults, keywords

    _put_back.append(put_back)


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Any:
    """Return an argument that may be given by place or by name; None where it is not given."""
    return args[place] if len(args) > place else kwargs.get(name)


def with_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str, value: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with another value for one of them."""
    if len(args) > place:
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, {**kwargs, name: value}
