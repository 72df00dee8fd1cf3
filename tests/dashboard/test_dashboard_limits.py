"""Bodies that are too long, connections that say nothing or say it too slowly, and more of them than there is room."""

import contextlib
import socket
import threading
import time

import pytest
from waitress import wasyncore

from edgeglass_dashboards import server as served
from edgeglass_dashboards.__main__ import listen
from edgeglass_dashboards.app import create_app
from edgeglass_dashboards.server import LONGEST, make_server
from edgeglass_diag.records import UsageError
from tests.helpers.waiting import PATIENCE, until

POST = b"POST /_dash-update-component HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"


class Serving:
    """The dashboard of no runs in a thread of this process."""

    def __init__(self, folder, host="127.0.0.1"):
        self.host = host
        listener = listen(8300, host)
        self.port = listener.getsockname()[1]
        self.server = make_server(create_app(folder).server, listener)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def connect(self):
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)

    def ask(self, head):
        """The first bytes of the answer to a request."""
        with self.connect() as connection:
            connection.sendall(head + b"\r\n")
            return connection.recv(13)

    def get(self, path=b"/_runs"):
        return self.ask(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (path, self.port))

    def asking(self):
        """How many connections wait for an answer."""
        return sum(bool(channel.requests) for channel in list(self.server.active_channels.values()))

    def stop(self):
        self.server.trigger.pull_trigger(lambda: wasyncore.close_all(self.server._map))
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.server.task_dispatcher.shutdown()


@pytest.fixture
def serving(tmp_path):
    serving = Serving(tmp_path)
    yield serving
    serving.stop()


def received(serving):
    """Bytes of bodies that the server holds, over all connections."""
    requests = [channel.request for channel in list(serving.server.active_channels.values())]
    return sum(request.body_bytes_received for request in requests if request is not None)


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(serving):
    answer = serving.ask(POST % serving.port + b"Content-Length: 200000000\r\n")
    assert answer == b"HTTP/1.1 413 "
    assert received(serving) == 0


def test_a_body_in_chunks_is_refused_where_it_becomes_too_long(serving):
    with serving.connect() as connection:
        connection.sendall(POST % serving.port + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(OSError):  # refused
            while sent < 200_000_000:
                connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                sent += 0x4000
        assert connection.recv(13) == b"HTTP/1.1 413 "
        assert sent < 50_000_000  # what lay in the buffers of both sockets


def test_a_head_that_is_too_long_is_refused(serving):
    assert b" 431 " in serving.get(b"/?" + b"x" * LONGEST)
    assert serving.get(b"/_runs?" + b"x" * (LONGEST - 1000)) == b"HTTP/1.1 200 "


def test_silent_connections_leave_room_for_others(serving):
    with contextlib.ExitStack() as stack:
        for _ in range(served.CONNECTIONS + 50):
            stack.enter_context(serving.connect())
        began = time.monotonic()
        assert serving.get() == b"HTTP/1.1 200 "
        assert time.monotonic() - began < served.SECONDS_FOR_A_REQUEST  # it waits for none of them to end
        assert len(serving.server.active_channels) <= served.CONNECTIONS


def test_connections_that_ask_are_not_closed_to_make_room(serving, monkeypatch):
    monkeypatch.setattr(served, "CONNECTIONS", 2)
    go = threading.Event()
    application = serving.server.application
    serving.server.application = lambda *wsgi: (go.wait(PATIENCE), application(*wsgi))[1]
    with contextlib.ExitStack() as stack:
        connections = []
        for count in range(1, 5):
            connections.append(stack.enter_context(serving.connect()))
            connections[-1].sendall(b"GET /_runs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % serving.port)
            until(lambda count=count: serving.asking() == count, f"connection {count} asks")
        go.set()
        assert [connection.recv(13) for connection in connections] == [b"HTTP/1.1 200 "] * 4


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", POST % 1 + b"Content-Length: 60000\r\n\r\n"])
def test_a_request_that_trickles_in_is_ended(serving, monkeypatch, head):
    monkeypatch.setattr(served, "SECONDS_FOR_A_REQUEST", 0.5)
    with serving.connect() as connection:
        connection.sendall(head)

        def is_closed():
            connection.sendall(b"x")
            return False

        with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, as it comes
            until(is_closed, "the connection is closed")


def test_a_silent_connection_is_ended(serving):
    serving.server.adj.channel_timeout = 0.5
    with serving.connect() as connection:
        assert connection.recv(1) == b""


def test_the_limits_are_those_of_the_server(serving):
    settings = serving.server.adj
    assert (settings.max_request_body_size, settings.max_request_header_size) == (LONGEST, LONGEST)
    assert settings.channel_timeout == served.SECONDS_SILENT
    assert settings.threads < served.CONNECTIONS < settings.connection_limit


def test_ipv6_is_served(tmp_path):
    try:
        serving = Serving(tmp_path, "::1")
    except UsageError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert serving.ask(b"GET /_runs HTTP/1.1\r\nHost: [::1]:%d\r\n" % serving.port) == b"HTTP/1.1 200 "
    serving.stop()
