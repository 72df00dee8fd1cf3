"""Tells where compiled code begins and ends to run, whatever was compiled and whenever."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

_NAME = "enter_exit_hooks"


class CompiledCalls:
    """Puts a hook of ours in front of those that torch keeps for each result of ``torch.compile``.

    torch calls the ``enter_exit_hooks`` of a context as its compiled code begins to run, and what they return as it
    ends. The list is the context's own, and contexts of before the watch are held by the user's functions alone; a
    descriptor on their class puts the hook in as torch asks for the list.

    Args:
        contexts: class of the contexts.
        begin: called as compiled code begins; true where ``end`` is to be called.
        end: called as it ends, also with an exception.
    """

    def __init__(self, contexts: type, begin: Callable[[], bool | None], end: Callable[[], object]) -> None:
        self._contexts, self._begin, self._end = contexts, begin, end
        self._lists: list[list[Any]] = []
        self._before: CompiledCalls | None = None
        self._hook: Callable[[], Callable[[], object]] = self._enter

    def attach(self) -> None:
        """Put the descriptor in place."""
        self._before = self._contexts.__dict__.get(_NAME)
        setattr(self._contexts, _NAME, self)

    def remove(self) -> None:
        """Take the descriptor away, and the hook from all lists."""
        if self._contexts.__dict__.get(_NAME) is self:
            if self._before is None:
                delattr(self._contexts, _NAME)
            else:
                setattr(self._contexts, _NAME, self._before)
        for hooks in self._lists:
            hooks[:] = [hook for hook in hooks if hook is not self._hook]
        self._lists.clear()
        self._begin = bool

    def __get__(self, context: Any, owner: type | None = None) -> Any:
        """Return a context's list, with the hook in it."""
        if context is None:
            return self
        hooks: list[Any] = context.__dict__[_NAME] if self._before is None else self._before.__get__(context, owner)
        if not any(hook is self._hook for hook in hooks):
            hooks.insert(0, self._hook)
            self._lists.append(hooks)
        return hooks

    def __set__(self, context: Any, hooks: list[Any]) -> None:
        """Keep a context's list where torch keeps it."""
        context.__dict__[_NAME] = hooks

    def _enter(self) -> Callable[[], object]:
        return partial(self._end) if self._begin() else _nothing


def _nothing() -> None: ...
