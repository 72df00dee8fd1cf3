"""Calls a function in a forked copy of this process, which has imported everything already, and says how it ended."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.waiting import until


@dataclass(frozen=True)
class Ended:
    """How a copy ended: its exit status (negative for a signal), and what it wrote."""

    status: int
    stdout: str
    stderr: str


def forked(call: Callable[[], object]) -> Ended:
    """Return how a copy of this process ended that called ``call``: with status 0, that of sys.exit, or 1."""
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / name for name in ("stdout", "stderr")]
        pid = os.fork()
        if pid == 0:
            _run(call, files)
        ended: list[int] = []

        def has_ended() -> bool:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(ended)

        try:
            until(has_ended, "the copy ends", between=0.01)
        finally:
            if not ended:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return Ended(ended[0], *(file.read_text(errors="replace") for file in files))


def _run(call: Callable[[], object], files: list[Path]) -> None:
    """End this copy; nothing of the process that it was copied from is closed or finalised."""
    status: object = 1
    try:
        for descriptor, file in zip((1, 2), files, strict=True):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        call()
        status = 0
    except SystemExit as error:
        status = 0 if error.code is None else error.code
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(status if isinstance(status, int) else 1)
