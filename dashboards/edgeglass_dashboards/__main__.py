"""Serve the dashboard, or write one page of it: ``python -m edgeglass_dashboards RUNS_DIR``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from edgeglass_dashboards.base_path import checked_base
from edgeglass_dashboards.security import Access, is_loopback
from edgeglass_diag.liveness import is_running
from edgeglass_diag.records import UsageError

_TRIES = 100
_TOKEN = "EDGEGLASS_DASHBOARD_TOKEN"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal or the end of the parent process; print the address once it is reachable."""
    options = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # numpy's, before it is loaded: beside a training on all
        os.environ.setdefault(name, "1")  # cores its threads wait for one another twenty times as long as they work
    base = None if options.base_path is None else checked_base(options.base_path)
    access = access_for(options.host, os.environ.get(_TOKEN) or None, base)
    with listen(options.port, options.host) as listener:
        port = listener.getsockname()[1]
        if port != options.port and options.say:
            print(f"port {options.port} is taken; the next free one is {port}", file=sys.stderr)
        server = _server(options.runs_dir, access, listener)
        if options.parent_pid is not None:
            threading.Thread(target=_watch_parent, args=(options.parent_pid,), daemon=True).start()
        address = address_of(access, port)
        print(json.dumps({"address": address, "token": access.token}) if options.json else address, flush=True)
        threading.Thread(target=importlib.import_module, args=("pandas",), daemon=True).start()  # the browser loads
        if options.open:
            _open(address)
        server.run()
    return 0


def access_for(host: str, token: str | None, base: str | None = None) -> Access:
    """Who may look at a dashboard that listens at ``host``: beyond this machine, or behind a proxy, who has the token.

    A token is made where none was given and one is needed.
    """
    if token is None and (base is not None or not is_loopback(host)):
        token = secrets.token_urlsafe(18)
    return Access(host, token, base)


def address_of(access: Access, port: int) -> str:
    """The address to open, with the token where there is one.

    >>> address_of(Access(), 8050)
    'http://127.0.0.1:8050'
    """
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(access.host, access.host)
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}{access.base or ''}" + (f"/?token={access.token}" if access.token else "")


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket that listens on ``host`` at ``port``, or at the next free port above it.

    Raises:
        UsageError: when ``host`` is no address of this machine.
        OSError: when none of the next 100 ports is free.
    """
    try:
        family, *_, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"--host: no address {host!r} of this machine ({error.strerror or error})") from error
    for candidate in range(port, min(port + _TRIES, 65536)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((place[0], candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if getattr(error, "errno", None) == 99:  # EADDRNOTAVAIL
                raise UsageError(f"--host: {host!r} is no address of this machine") from error
            continue
        return listener
    raise OSError(f"no free port from {port} to {port + _TRIES - 1}")


def _server(runs_dir: Path, access: Access, listener: socket.socket) -> Any:
    from edgeglass_dashboards.app import create_app
    from edgeglass_dashboards.server import make_server

    app: Any = create_app(runs_dir, access)
    return make_server(app.server, listener)


def _open(address: str) -> None:
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edgeglass_dashboards", description=__doc__)
    parser.add_argument("runs_dir", type=Path, help="folder of runs; it need not exist yet")
    parser.add_argument("--host", default="127.0.0.1", help=f"address to listen at; the token is taken from {_TOKEN}")
    parser.add_argument("--port", type=int, default=8050, help="the next free one is taken where it is in use")
    parser.add_argument("--base-path", help="the path in front of it behind a proxy, as /proxy/8050; / for none")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    parser.add_argument("--open", action="store_true", help="open a browser")
    parser.add_argument("--json", action="store_true", help="print address and token as JSON")
    parser.add_argument("--say", action="store_true", help="say on stderr that another port was taken")
    return parser.parse_args(arguments)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _watch_parent(pid: int) -> None:
    is_parent = os.getppid() == pid
    while os.getppid() == pid if is_parent else is_running(pid):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
