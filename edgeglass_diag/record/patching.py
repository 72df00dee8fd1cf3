"""Puts a function of ours in the place of one of torch's, for what no hook of torch tells, and puts it back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Around = Callable[..., Any]
"""Called as ``around(original, *args, **kwargs)`` in place of the original."""


class Patch:
    """``owner.name`` calls ``around`` while attached, and passes calls through in between.

    It is put in place once and stays there until ``remove``, so that two watches that take turns do not pile up.
    Where another function was put on top meanwhile ours is left there, and passes calls through.
    """

    def __init__(self, owner: Any, name: str, around: Around) -> None:
        self._owner, self._name, self._around = owner, name, around
        self._original: Callable[..., Any] | None = None
        self._replacement: Callable[..., Any] | None = None
        self._active = False

    def attach(self) -> None:
        """Begin to call ``around``."""
        self._active = True
        if self._replacement is not None:
            return
        original = self._original = getattr(self._owner, self._name)

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            if not self._active:
                return original(*args, **kwargs)
            return self._around(original, *args, **kwargs)

        self._replacement = replacement
        setattr(self._owner, self._name, replacement)

    def detach(self) -> None:
        """Pass calls through."""
        self._active = False

    def remove(self) -> None:
        """Put the original back."""
        self._active = False
        if self._replacement is not None and getattr(self._owner, self._name) is self._replacement:
            setattr(self._owner, self._name, self._original)
        self._original = self._replacement = None
