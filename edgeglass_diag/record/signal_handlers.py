"""Exceptions of the user that arrive in the middle of the recorder's code."""

from __future__ import annotations

import functools
import signal
import traceback
from types import CodeType, FunctionType, MethodType
from typing import TypeGuard


def is_failure(error: BaseException) -> TypeGuard[Exception]:
    """Return whether an exception raised in the recorder's code is a failure of it.

    Others are the user's: what is no Exception, as KeyboardInterrupt and StopTraining, what a signal handler raises.
    """
    return isinstance(error, Exception) and not is_of_a_signal_handler(error)


def is_of_a_signal_handler(error: BaseException) -> bool:
    """Return whether an exception came out of a signal handler that is installed, as those for a time-out."""
    codes = {id(code) for code in map(_code, map(signal.getsignal, signal.valid_signals())) if code is not None}
    return any(id(frame.f_code) in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def _code(handler: object) -> CodeType | None:
    """Return the code that a handler runs first, None where it is none of Python's."""
    while not isinstance(handler, FunctionType):
        if isinstance(handler, functools.partial):
            handler = handler.func
        elif isinstance(handler, MethodType):
            handler = handler.__func__
        elif callable(handler) and isinstance(type(handler).__call__, FunctionType):
            handler = type(handler).__call__
        else:
            return None
    return handler.__code__
