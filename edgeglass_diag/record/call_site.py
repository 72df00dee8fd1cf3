"""Calls functions from the line that has called them, so that torch's warnings tell of it and not of the recorder."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType, FunctionType
from typing import Any

from torch.overrides import handle_torch_function

_HANDS_ON = handle_torch_function.__code__
_CALL = (lambda function, args, kwargs: function(*args, **kwargs)).__code__


def caller(frame: FrameType) -> Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]:
    """Return what calls a function with its arguments, in the name of the line at which a frame stands.

    A warning of torch is attributed to the innermost frame of Python: its file and line are shown, the filters of its
    module hold, and it comes once per line. Functions written in Python hand themselves to the mode, and are called
    again from where they were called first.
    """
    if frame.f_code is _HANDS_ON and frame.f_back is not None:
        frame = frame.f_back.f_back or frame
    code = frame.f_code
    return FunctionType(_code(code.co_filename, code.co_name, frame.f_lineno or 0), frame.f_globals)


@lru_cache(maxsize=4096)
def _code(file: str, name: str, line: int) -> CodeType:
    return _CALL.replace(co_filename=file, co_name=name, co_qualname=name, co_firstlineno=line)
