"""The pytest plugin: fixture and marker ``init_guard``, ``--eg-baseline``, ``--eg-update``, ``--eg-sarif``.

Every pytest session loads it where this package is installed, so torch is imported only when a test uses the fixture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgeglass_diag.guard.init_guard import InitGuard

_MARKER = (
    "init_guard(fail_on='warning', ignore=[]): options of the fixture init_guard, whose tests all have this marker"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line options."""
    group = parser.getgroup("edgeglass-diag", "initialisation guard (edgeglass-diag)")
    group.addoption("--eg-baseline", metavar="FILE", type=Path, help="init certificates to compare with")
    group.addoption("--eg-update", action="store_true", help="write the init certificates again instead of comparing")
    group.addoption(
        "--eg-sarif", metavar="FILE", type=Path, help="write findings as SARIF, also those that do not fail"
    )
    group.addoption(
        "--eg-fail-on", choices=["info", "warning", "critical"], default="warning", help="lowest severity that fails"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the SARIF writer.

    Raises:
        pytest.UsageError: if ``--eg-update`` is given without ``--eg-baseline``, or with several processes.
    """
    config.addinivalue_line("markers", _MARKER)
    file = config.getoption("--eg-sarif")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_SarifWriter(config.invocation_params.dir / file, config.rootpath))
    if config.getoption("--eg-update"):
        if config.getoption("--eg-baseline") is None:
            raise pytest.UsageError("--eg-update: expected --eg-baseline FILE too, got none")
        if hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("--eg-update: expected one process, got several (-n)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses the fixture, so that ``-m init_guard`` selects it."""
    for item in items:
        if "init_guard" in getattr(item, "fixturenames", ()) and item.get_closest_marker("init_guard") is None:
            item.add_marker(pytest.mark.init_guard)


@pytest.fixture
def init_guard(request: pytest.FixtureRequest) -> InitGuard:
    """Return ``init_guard(build, batch)``, which fails on a bad or changed initialisation; see ``InitGuard``."""
    from edgeglass_diag.guard.baseline import Baseline
    from edgeglass_diag.guard.init_guard import InitGuard, parse_severity, with_marker

    config, item = request.config, request.node
    file = config.getoption("--eg-baseline")
    baseline = None if file is None else Baseline(config.invocation_params.dir / file, config.getoption("--eg-update"))
    properties: list[tuple[str, object]] = item.user_properties
    guard = InitGuard(
        item.nodeid,
        config.rootpath,
        parse_severity(config.getoption("--eg-fail-on")),
        baseline=baseline,
        report=lambda name, text: properties.append((name, text)),
    )
    marker = item.get_closest_marker("init_guard")
    return guard if marker is None else with_marker(guard, **marker.kwargs)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Replace the traceback of a failing guard by its message."""
    report = yield
    if call.excinfo is not None and type(call.excinfo.value).__name__ == "InitRegressionError":
        report.longrepr = f"{item.nodeid}: {call.excinfo.value}"
    return report


class _SarifWriter:
    """Collects the findings that tests reported, in this process or in workers of xdist, and writes them as SARIF."""

    def __init__(self, file: Path, root: Path) -> None:
        self._file, self._root = file, root
        self._results: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the findings from the properties of a test."""
        if report.when != "call":
            return
        test, line, _ = report.location
        for name, value in report.user_properties:
            if name.startswith("init_guard/") and name.endswith(("/finding", "/change")):
                result = json.loads(str(value))
                self._results.append(result if result["file"] else {**result, "file": test, "line": (line or 0) + 1})

    def pytest_sessionfinish(self) -> None:
        """Write the SARIF file."""
        from edgeglass_diag.gate.results import Result
        from edgeglass_diag.gate.sarif import write_sarif

        write_sarif(self._file, [Result(**result) for result in self._results], self._root, option="--eg-sarif")
