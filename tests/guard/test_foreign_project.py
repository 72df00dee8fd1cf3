"""A project that has nothing to do with ours: its tests run as before where this package is installed."""

import os
import subprocess
import sys
from importlib.metadata import distribution

import pytest

from tests.helpers.environments import link, required, wheel_as_installed
from tests.helpers.waiting import PATIENCE

TEST = "import warnings\n\n\ndef test_fine():\n    assert warnings.filters\n"
ALONE = "import sys\n\n\ndef test_no_dash():\n    assert not {'dash', 'flask', 'torch'} & set(sys.modules)\n"
INI = "[pytest]\nfilterwarnings = error\naddopts = --strict-config --strict-markers\nxfail_strict = true\n"


def environment(folder, installed, *extras):
    """A folder of links to all that pip installs for this package, beside pytest and pytest-xdist."""
    tools = {**required(distribution("pytest")), **required(distribution("pytest-xdist"))}
    return link(folder, tools | required(wheel_as_installed(installed), *extras))


@pytest.fixture(scope="module")
def installed_alone(tmp_path_factory, installed):
    return environment(tmp_path_factory.mktemp("alone"), installed)


@pytest.fixture(scope="module")
def installed_with_dashboard(tmp_path_factory, installed):
    return environment(tmp_path_factory.mktemp("dashboard"), installed, "dashboard")


def run_pytest(site, folder, *options):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
    line = [sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        line,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ini", "options"),
    [
        ("", ["-W", "error"]),
        (INI, []),
        (INI, ["-n", "2", "-W", "error"]),
        ("", ["-W", "error::DeprecationWarning"]),
    ],
    ids=["-W error", "an ini of its own", "with xdist", "of deprecations"],
)
def test_tests_of_others_run_with_warnings_as_errors(installed_alone, tmp_path, ini, options):
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "test_alone.py").write_text(ALONE)
    if ini:
        (tmp_path / "pytest.ini").write_text(ini)
    status, output = run_pytest(installed_alone, tmp_path, *options)
    assert status == 0, output
    assert "2 passed" in output
    assert "warning" not in output.lower()


def test_our_plugin_is_there(installed_alone, tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(init_guard):\n    assert callable(init_guard)\n")
    status, output = run_pytest(installed_alone, tmp_path, "-W", "error")
    assert status == 0, output


def test_beside_the_dashboard_an_option_keeps_the_plugin_of_dash_away(installed_with_dashboard, tmp_path):
    (tmp_path / "test_it.py").write_text(TEST)
    status, output = run_pytest(installed_with_dashboard, tmp_path, "-W", "error", "-p", "no:dash")
    assert status == 0, output
