"""Puts a function of ours around one of torch's, for what no hook of torch tells, and takes it away."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, cast
from weakref import WeakKeyDictionary

Before = Callable[[tuple[Any, ...], dict[str, Any]], object | None]
"""Called with the arguments of a call. Returns what ``After`` is given; None where it is not to be called."""

After = Callable[[Any, Any, bool], object]
"""Called with what ``Before`` has returned, the result, None without one, and whether the original has raised."""


_REMOVED: WeakKeyDictionary[FunctionType, Callable[..., Any]] = WeakKeyDictionary()
"""What stayed in place since another function was on top of it when it was to go, and the original that it calls."""


class Patch:
    """``owner.name`` is called between ``before`` and ``after`` while attached, and alone otherwise.

    The original is called here and nowhere else, once and with the arguments that it was given; its result and its
    exceptions are passed on. Both calls of ours are entries of the boundary, which raise nothing.

    It is put in place once and stays there until ``remove``, so that two watches that take turns do not pile up.
    Where another function was put on top meanwhile ours is left there, and passes calls through.
    """

    def __init__(self, owner: Any, name: str, before: Before, after: After) -> None:
        self._owner, self._name, self._before, self._after = owner, name, before, after
        self._original: Callable[..., Any] | None = None
        self._replacement: FunctionType | None = None
        self._active = False

    def attach(self) -> None:
        """Begin to call ``before`` and ``after``."""
        self._active = True
        if self._replacement is not None:
            return
        original = self._original = getattr(self._owner, self._name)

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            begun = self._before(args, kwargs) if self._active else None
            if begun is None:
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except BaseException:
                self._after(begun, None, True)
                raise
            self._after(begun, result, False)
            return result

        self._replacement = cast(FunctionType, replacement)  # first, as Ctrl-C may come in between
        setattr(self._owner, self._name, replacement)

    @property
    def code(self) -> CodeType | None:
        """The code of what is in place, the same for all patches; None where nothing is."""
        return None if self._replacement is None else self._replacement.__code__

    def detach(self) -> None:
        """Pass calls through."""
        self._active = False

    def remove(self) -> None:
        """Put the original back, and where that is what a watch that ended earlier has left, the one below."""
        self._active = False
        original, replacement = self._original, self._replacement
        if original is None or replacement is None:
            return
        while isinstance(original, FunctionType) and original in _REMOVED:
            original = _REMOVED[original]
        if getattr(self._owner, self._name) is replacement:
            setattr(self._owner, self._name, original)
        else:
            _REMOVED[replacement] = original
        self._original = self._replacement = None
