"""A webhook on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.waiting import PATIENCE


class Webhook:
    """What was posted, and what is answered.

    Attributes:
        address: of the server, with a secret in its path.
        answers: status and headers of the next answers; 200 behind them.
        posted: the addresses and bodies that came, in their order.
        open: cleared, the server takes messages and answers none.
    """

    SECRET = "sEcReT"

    def __init__(self, port: int) -> None:
        self.server = f"http://127.0.0.1:{port}"
        self.address = f"{self.server}/hooks/{self.SECRET}"
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.open = threading.Event()
        self.open.set()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Return the bodies that came."""
        return [body for _, body in self.posted]

    @property
    def told(self) -> list[tuple[str, str]]:
        """Return code and site of the findings that came."""
        return [(body["finding"]["code"], body["finding"]["site"]) for body in self.bodies]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a webhook."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            hook.posted.append((self.path, json.loads(body)))
            hook.open.wait(PATIENCE)
            status, headers = hook.answers.pop(0) if hook.answers else (200, {})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook = Webhook(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hook
    finally:
        hook.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
