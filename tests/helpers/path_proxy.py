"""A proxy that puts a path in front of another server, as jupyter-server-proxy does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def path_proxy(port: int, prefix: str, *, strips: bool) -> Iterator[str]:
    """Serve another server of this machine below a path; give the address of that path.

    Args:
        port: of the other server.
        prefix: the path, without a slash at its end.
        strips: whether the path is taken away before a request goes on, and put in front of an absolute ``Location``
            that comes back (``/proxy/PORT``); else requests go on as they are (``/proxy/absolute/PORT``).
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = dict(self.headers.items()) | {"Host": "hub.example", "Connection": "close"}
            connection = HTTPConnection("127.0.0.1", port)
            path = self.path.removeprefix(prefix) if strips else self.path
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name not in ("Connection", "Transfer-Encoding", "Content-Length"):
                    moved = strips and name == "Location" and value.startswith("/")
                    self.send_header(name, prefix + value if moved else value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_POST = do_GET  # noqa: N815  the name that http.server wants

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
