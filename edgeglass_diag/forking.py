"""A fork waits until no thread of ours is inside of the store: a lock that it holds there stays locked in the copy.

SQLite has locks of its own, for all connections of a process. No torch.
"""

from __future__ import annotations

import ctypes
import os
import threading


class _Busy:
    """A lock of one thread, which is a new one in a copy where nobody is left to release it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


BUSY = _Busy()
"""Held by a thread of ours while it does something in which the process must not be copied."""

PATIENCE = 1.0
"""Seconds that a fork waits: a window is written in milliseconds, and a disk that hangs must not hold the program."""


class _Fork(threading.local):
    """Of each thread that forks: whether it holds the lock meanwhile."""

    held = False


_fork = _Fork()
_unsafe: set[int] = set()


def is_safe() -> bool:
    """Return whether the store can be used in this process: not in a copy that was made while a thread was inside."""
    return os.getpid() not in _unsafe


def _before() -> None:
    _fork.held = BUSY.lock.acquire(timeout=PATIENCE)


def _in_parent() -> None:
    if _fork.held:
        BUSY.lock.release()


def _in_child() -> None:
    if _fork.held:
        BUSY.lock.release()
    else:
        BUSY.lock = threading.RLock()
        _unsafe.add(os.getpid())


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def keep_for_ever(held: object) -> None:
    """Let something never be closed, also not at the end of the process; None is nothing."""
    if held is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
