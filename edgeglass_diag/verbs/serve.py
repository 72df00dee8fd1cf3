"""Starts the dashboard as a process of its own, so that drawing never takes time from training."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from edgeglass_diag.records import UsageError

GROUP = "edgeglass_diag.dashboard"


@contextmanager
def dashboard(runs: Path, port: int = 8050) -> Iterator[str]:
    """Serve ``runs`` on 127.0.0.1 inside ``with``; gives the address, whose port is the next free one.

    Raises:
        UsageError: when no dashboard is installed or it does not start.
    """
    offered = list(entry_points(group=GROUP))
    if not offered:
        raise UsageError(f"no dashboard is installed (entry-point group {GROUP!r} is empty)")
    command = [sys.executable, "-m", offered[0].value, str(runs), "--port", str(port), "--parent-pid", str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    owner = os.getpid()
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise UsageError(f"the dashboard did not start (exit status {process.wait()})")
        yield address
    finally:
        if os.getpid() == owner:  # a copy that a program forked passes here as well
            process.terminate()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
