"""Serve the dashboard on this machine: ``python -m edgeglass_dashboards RUNS_DIR``."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from edgeglass_diag.store import is_alive

_HOST = "127.0.0.1"
_TRIES = 100


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write no line per request."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal or the end of the parent process; print the address once it is reachable."""
    options = _parse(arguments)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _leave)
    from edgeglass_dashboards.app import create_app

    with listen(options.port) as listener:
        app: Any = create_app(options.runs_dir)
        port = listener.getsockname()[1]
        server = make_server(
            _HOST, port, app.server, threaded=True, request_handler=_QuietHandler, fd=listener.fileno()
        )
        if options.parent_pid is not None:
            threading.Thread(target=_watch_parent, args=(options.parent_pid,), daemon=True).start()
        print(f"http://{_HOST}:{port}", flush=True)
        server.serve_forever()
    return 0


def listen(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1 at ``port``, or at the next free port above it.

    Raises:
        OSError: when none of the next 100 ports is free.
    """
    for candidate in range(port, port + _TRIES):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, candidate))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    raise OSError(f"no free port from {port} to {port + _TRIES - 1}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edgeglass_dashboards", description=__doc__)
    parser.add_argument("runs_dir", type=Path, help="folder of runs; it need not exist yet")
    parser.add_argument("--port", type=int, default=8050, help="the next free one is taken where it is in use")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    return parser.parse_args(arguments)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _watch_parent(pid: int) -> None:
    is_parent = os.getppid() == pid
    while os.getppid() == pid if is_parent else is_alive(pid):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
