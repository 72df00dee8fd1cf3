"""Where in the program something is made: the line of its own code, and not of a library that it calls."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch

from edgeglass_diag.records import SourceLine

_INSTALLED = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_NEVER = (str(Path(torch.__file__).parent) + os.sep, str(Path(__file__).parents[2]) + os.sep, "<")
"""Files of torch, of this package, and what is no file."""


def line_of_program(made: object = None) -> SourceLine | None:
    """Return the innermost line of the program that is being run; None where there is none.

    A program that is itself installed is told by the innermost line outside of torch.

    Args:
        made: an object whose constructors are left out, as they are not where somebody chose to make it.
    """
    lines = [
        SourceLine(os.path.abspath(frame.f_code.co_filename), frame.f_lineno or 0)
        for frame in _frames()
        if not frame.f_code.co_filename.startswith(_NEVER) and not _constructs(frame, made)
    ]
    return next((line for line in lines if not line.file.startswith(_INSTALLED)), next(iter(lines), None))


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _constructs(frame: FrameType, made: object) -> bool:
    return made is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is made
