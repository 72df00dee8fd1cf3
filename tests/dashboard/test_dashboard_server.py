import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from edgeglass_dashboards.__main__ import listen
from edgeglass_diag.store import RunWriter
from tests.helpers.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def fetch(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.status, answer.read()


def test_importing_takes_no_torch_and_no_pandas():
    code = (
        "import sys, edgeglass_dashboards.app, edgeglass_diag.store;"
        "print([name for name in ('torch', 'open_clip', 'pandas') if name in sys.modules])"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "dashboards")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_drawing_embeddings_takes_no_torch_and_no_scipy(tmp_path):
    writer = RunWriter(tmp_path / "kept", name="kept", header={})
    image, text = np.random.default_rng(0).normal(size=(2, 32, 16)).astype(np.float32)
    writer.write_embeddings(0, image, text)
    writer.finish("finished", {})
    code = (
        "import sys; from pathlib import Path; from edgeglass_dashboards.static import static_page;"
        f"print('of the variance' in static_page(Path({str(tmp_path / 'kept')!r})));"
        "print([name for name in ('torch', 'scipy') if name in sys.modules])"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "dashboards")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.stdout, done.stderr) == ("True\n[]\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_then_quiet_until_a_signal(serve, tmp_path, number):
    dashboard = serve(tmp_path / "not" / "yet")
    assert dashboard.url == f"http://127.0.0.1:{dashboard.port}"
    assert fetch(dashboard.url)[0] == 200
    assert fetch(f"{dashboard.url}/_runs") == (200, b"[]")
    assert dashboard.stop(number) == (0, "", "")


def test_a_port_in_use_is_passed_over():
    with listen(8500) as first:
        port = first.getsockname()[1]
        with listen(port) as second:
            assert second.getsockname()[1] > port
            assert second.getsockname()[0] == "127.0.0.1"


def test_no_free_port_is_told(monkeypatch):
    def refuse(self, address):
        raise OSError("in use")

    monkeypatch.setattr(socket, "socket", lambda *_: type("S", (), {
        "setsockopt": lambda *_: None, "bind": refuse, "close": lambda _: None})())  # fmt: skip
    with pytest.raises(OSError, match="no free port from 8050 to 8149"):
        listen(8050)


def test_it_ends_with_the_process_it_serves(serve, tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dashboard = serve(tmp_path, "--parent-pid", str(owner.pid))
    assert fetch(dashboard.url)[0] == 200
    owner.kill()
    owner.communicate()
    assert dashboard.copy.wait() == 0
