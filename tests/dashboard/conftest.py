import importlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.command_server import CommandServer, Copy
from tests.helpers.tiny_training import train
from tests.helpers.waiting import PATIENCE, until

IMPORTS = ("edgeglass_dashboards.app", "edgeglass_dashboards.server", "edgeglass_dashboards.__main__", "pandas")


def free_port() -> int:
    """One that the system gives out, so that no dashboard of another worker takes it while ours is down."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def serve_folder(*arguments: str) -> None:
    """Serve as ``python -m edgeglass_dashboards`` does."""
    sys.exit(importlib.import_module("edgeglass_dashboards.__main__").main(arguments))


@dataclass
class Dashboard:
    """A dashboard in a copy of a process that has imported it; ``start`` after ``stop`` brings it up again."""

    server: CommandServer
    folder: Path
    printed: Path
    port: int = field(default_factory=free_port)
    url: str = ""
    options: list[str] = field(default_factory=list)
    copy: Copy | None = None

    def start(self) -> "Dashboard":
        """Return once the address is told."""
        (self.printed / "stdout").write_text("")
        line = [str(self.folder), "--port", str(self.port), *self.options]
        self.copy = self.server.start(serve_folder, *line, place=self.printed)
        self.url = until(lambda: (self.printed / "stdout").read_text().strip(), "the dashboard tells its address")
        self.port = int(self.url.split(":")[2].partition("/")[0])
        return self

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Ask the process to end; its exit status and what it printed beside the address."""
        assert self.copy is not None
        self.copy.send_signal(number)
        status = self.copy.wait()
        out, err = ((self.printed / name).read_text() for name in ("stdout", "stderr"))
        return status, out.removeprefix(self.url + "\n"), err


def servers(
    dashboard_server: CommandServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Dashboard]]:
    started: list[Dashboard] = []

    def start(folder: Path, *options: str) -> Dashboard:
        printed = tmp_path_factory.mktemp("dashboard")
        dashboard = Dashboard(dashboard_server, folder, printed, options=list(options)).start()
        started.append(dashboard)
        return dashboard

    yield start
    for dashboard in started:
        print(dashboard.stop(signal.SIGKILL)[2], file=sys.stderr)  # shown beside what failed


serve = pytest.fixture(servers)
serve_once = pytest.fixture(servers, scope="module")


@pytest.fixture(scope="session")
def dashboard_server():
    """Starts dashboards in copies of a process that has imported them, without torch as they are."""
    server = CommandServer(IMPORTS)
    yield server
    server.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with the run ``real``: a small training with attention, two sides and metrics."""
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "real", steps=12)
    return folder


@pytest.fixture
def open_page(browser):
    """Opens pages that record their requests and complaints; both are judged at the end of the test."""
    contexts, complaints, requests = [], [], []

    def open_(url: str, *, width: int = 1400, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(1000 * PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        return page

    open_.complaints = complaints
    yield open_
    cookies = [cookie for context in contexts for cookie in context.cookies()]
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []
    assert cookies == []
