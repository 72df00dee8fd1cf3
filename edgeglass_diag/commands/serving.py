"""Start the dashboard: in a process of its own while a training runs, which takes no time from it, else in this one."""

from __future__ import annotations

import importlib
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
    """Serve ``runs`` on 127.0.0.1 inside ``with``; give the address, whose port is the next free one.

    Raises:
        UsageError: if no dashboard is installed or it does not start.
    """
    command = [sys.executable, "-m", _offered(), str(runs), "--port", str(port), "--parent-pid", str(os.getpid())]
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


def serve(
    runs: Path,
    *,
    host: str,
    port: int,
    token: str | None,
    base_path: str | None = None,
    open_browser: bool,
    as_json: bool,
) -> None:
    """Serve ``runs`` from this process until Ctrl-C; print the address, with the token if there is one.

    Raises:
        UsageError: if no dashboard is installed, ``runs`` is a file, or the host is none of this machine.
    """
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"dashboard: expected a folder of runs, got the file {runs}")
    if token is not None:
        os.environ["EDGEGLASS_DASHBOARD_TOKEN"] = token
    module = importlib.import_module(f"{_offered()}.__main__")
    flags = [flag for flag, wanted in (("--open", open_browser), ("--json", as_json)) if wanted]
    arguments = [str(runs), "--host", host, "--port", str(port), "--say", *flags]
    if base_path is not None:
        arguments += ["--base-path", base_path]
    try:
        module.main(arguments)
    except OSError as error:
        raise UsageError(f"dashboard: {error}") from error


def write_static(run: Path, out: Path) -> None:
    """Write the pages of a run as one self-contained HTML file.

    Raises:
        UsageError: if no dashboard is installed, there is no such run, or ``out`` cannot be written.
    """
    importlib.import_module(f"{_offered()}.static").write(run, out)


def _offered() -> str:
    """Return the name of the module of the installed dashboard."""
    offered = list(entry_points(group=GROUP))
    if not offered:
        raise UsageError(f"no dashboard is installed (entry-point group {GROUP!r} is empty)")
    importlib.import_module(offered[0].value)  # says what it needs
    return offered[0].value
