"""The WSGI server behind the dashboard: bounded in what it reads, how long it waits, and what it holds at once."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

LONGEST = 64 * 1024
"""Bytes of the head of a request, and of its body.

The longest head is that of a poll: its cursor has some 100 bytes for each of a page's 20 parts, 5 readings of each of 5
signals, and up to 4 KiB for each of 7 names (6 paths, 1 site), quoted at three bytes for one. The body of a callback
repeats the address of the page, which had to fit in a head.
"""

SECONDS_FOR_A_REQUEST = 10
"""From its first byte to its last; a page of ours sends all of it at once."""

SECONDS_SILENT = 30
"""Without a byte either way; an open page asks each second or two."""

CONNECTIONS = 256
"""A browser opens 6 to one host, so that some 40 can look on. Each takes up to 3 descriptors, of usually 1024."""

_THREADS = 8  # one browser fills 6 with what a page loads; two are left for another


class _Request(HTTPRequestParser):
    """A request that is coming in; ``begun`` is when its first byte came."""

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.begun = time.time()


class _Connection(HTTPChannel):
    parser_class = _Request

    def is_late(self, now: float) -> bool:
        """Return whether the request that is coming in should have ended by now."""
        return self.request is not None and self.request.begun < now - SECONDS_FOR_A_REQUEST


class _Server(TcpWSGIServer):
    """waitress, which closes silent connections alone, with an end to slow ones and room for new ones."""

    channel_class = _Connection

    def maintenance(self, now: float) -> None:
        """Close connections that have been silent for too long, or whose request takes too long to come in."""
        super().maintenance(now)
        for connection in self.active_channels.values():
            if connection.is_late(now):
                connection.will_close = True

    def handle_accept(self) -> None:
        """Accept a connection; where there are too many, close that which has waited longest without a request."""
        waiting = [connection for connection in self.active_channels.values() if not connection.requests]
        if len(self.active_channels) >= CONNECTIONS and waiting:
            min(waiting, key=lambda connection: connection.last_activity).handle_close()
        super().handle_accept()


def make_server(application: Any, listener: socket.socket) -> Any:
    """Return the server of a WSGI application on a socket that listens; its ``run`` ends with SystemExit.

    A head or body of more than ``LONGEST`` bytes is refused with 431 or 413 before it is read.
    """
    for name in ("waitress", "waitress.queue"):
        logging.getLogger(name).setLevel(logging.ERROR)  # else a line for each full queue
    settings = Adjustments(
        threads=_THREADS,
        connection_limit=CONNECTIONS + 2 * _THREADS,  # of those that are busy, and of the server's own
        channel_timeout=SECONDS_SILENT,
        cleanup_interval=1,
        max_request_header_size=LONGEST,
        max_request_body_size=LONGEST,
        log_socket_errors=False,
        asyncore_use_poll=True,  # select fails above descriptor 1023
        ident=None,
    )
    place = (listener.family, listener.type, listener.proto, listener.getsockname())
    return _Server(application, _sock=listener, adj=settings, sockinfo=place, bind_socket=False)
