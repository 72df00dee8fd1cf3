import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.tiny_training import train
from tests.helpers.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """One that the system gives out, so that no dashboard of another worker takes it while ours is down."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Dashboard:
    """A dashboard process; ``start`` after ``stop`` brings it up again at the same port."""

    folder: Path
    port: int = field(default_factory=free_port)
    url: str = ""
    process: subprocess.Popen[str] | None = None
    options: list[str] = field(default_factory=list)

    def start(self) -> "Dashboard":
        path = os.pathsep.join([str(ROOT), str(ROOT / "dashboards")])
        command = [sys.executable, "-m", "edgeglass_dashboards", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rpartition(":")[2])
        return self

    def stop(self) -> tuple[int, str, str]:
        """Ask the process to end; its exit status and what it printed beside the address."""
        assert self.process is not None
        self.process.terminate()
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def servers() -> Iterator[Callable[..., Dashboard]]:
    started: list[Dashboard] = []

    def start(folder: Path, *options: str) -> Dashboard:
        dashboard = Dashboard(folder, options=list(options)).start()
        started.append(dashboard)
        return dashboard

    yield start
    for dashboard in started:
        if dashboard.process is not None and dashboard.process.poll() is None:
            dashboard.process.kill()
        if dashboard.process is not None:
            print(dashboard.process.communicate()[1], file=sys.stderr)  # shown beside what failed


serve = pytest.fixture(servers)
serve_once = pytest.fixture(servers, scope="module")


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
