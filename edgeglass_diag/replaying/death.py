"""End with the process that started this one, and end all that it started, where the system can."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

import psutil

_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends; Linux only."""
    _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parents end; Linux only."""
    _prctl(_CHILD_SUBREAPER, 1)


def kill_descendants() -> None:
    """Kill all processes below this one until there are none; those of an orphan are found where they were adopted."""
    own = psutil.Process()
    while left := own.children(recursive=True):
        for each in left:
            with contextlib.suppress(psutil.Error):
                each.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
