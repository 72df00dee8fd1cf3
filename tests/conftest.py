"""What several tests share."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.command_server import CommandServer

torch.set_num_threads(1)  # the models of the tests are tiny, and two workers share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")  # so do those of the processes that they start


START_PROCESSES = ("programs", "record", "public", "cli", "dashboard", "report", "guard", "replaying", "explain")
"""Folders whose tests take longest. They come first, so that no worker is left with a long file at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not set(item.path.parts) & set(START_PROCESSES))


ROOT = Path(__file__).resolve().parents[1]

collect_ignore = ["benchmarks/planted"]
"""Programs of their own, and a sitecustomize, whose folder must not come into ``sys.path``."""


@pytest.fixture(scope="module", autouse=True)
def _objects_of_this_module():
    """Keep what is here before out of the sight of ``gc``: the recorder looks through all objects for models."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def command_server():
    """Calls functions in copies of a process that has imported what the command line needs."""
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def command(command_server):
    """Run the command line in a process of its own."""
    return lambda *arguments, **options: command_server.run(*map(str, arguments), **options)


@pytest.fixture(scope="session")
def feature_cache(tmp_path_factory):
    """One cache of frozen features for the whole session, also for child processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGLASS_CACHE", str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """This package as a wheel would install it, without what it depends on."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("edgeglass_diag", "models", "dashboards"):
        skip = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*line, "--target", str(target), str(source)], check=True, capture_output=True)
    return target
