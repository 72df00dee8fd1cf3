"""The command line: one module for each verb, which parses its options, calls a function below, and shows the result.

``render`` has the words and tables. Everything heavy is imported in the function that uses it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import typer

from edgeglass_diag.commands import (
    attribute,
    audit,
    bench,
    check,
    compare,
    dashboard,
    diagnose,
    evaluate,
    explain,
    export,
    findings,
    mcp,
    profile,
    report,
    rules,
    run,
)
from edgeglass_diag.commands.app import app
from edgeglass_diag.commands.targets import ProgramCommand
from edgeglass_diag.errors import UsageError, one_line

CLICK_ERROR = sys.modules[typer.BadParameter.__module__].ClickException  # typer may bring a copy of click of its own
PACKAGES = ("edgeglass_diag", "edgeglass_models", "edgeglass_dashboards")

app.command(cls=ProgramCommand)(run.run)
app.command()(check.check)
app.command()(findings.findings)
app.command(cls=ProgramCommand)(diagnose.diagnose)
app.command(cls=ProgramCommand)(explain.explain)
app.command()(audit.audit)
app.command()(compare.compare)
app.command(name="eval")(evaluate.evaluate)
app.command()(attribute.attribute)
app.command()(report.report)
app.command()(export.export)
app.command()(dashboard.dashboard)
app.command(cls=ProgramCommand)(profile.profile)
app.command()(rules.rules)
app.command()(mcp.mcp)
app.command()(bench.bench)


def main() -> None:
    """Run the command line; wrong use ends with exit status 2 and one line on stderr."""
    warnings.showwarning = _in_one_line(warnings.showwarning)
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        raise _wrong_use(str(error)) from None
    except CLICK_ERROR as error:
        raise _wrong_use(one_line(error.format_message())) from None
    except typer.Abort:
        raise SystemExit(1) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    raise SystemExit(status or 0)


def _wrong_use(line: str) -> SystemExit:
    """Print what is wrong, and return the end of the process."""
    print(f"edgeglass-diag: {line}", file=sys.stderr)
    return SystemExit(2)


def _in_one_line(other: Callable[..., None]) -> Callable[..., None]:
    """Return a function that prints warnings of this distribution in one line, and leaves all others to ``other``."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if file is None and category is UserWarning and set(PACKAGES) & set(Path(filename).parts):
            print(f"edgeglass-diag: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            other(message, category, filename, lineno, file, line)

    return show
