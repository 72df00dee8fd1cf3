"""What every verb does with its result: text or JSON, and the exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from edgeglass_diag.store import Run


def exit_on(found: Any, fail_on: str | None) -> None:
    """End with exit status 1 where a finding is at or above a severity."""
    from edgeglass_diag.records import Severity

    if fail_on is not None and any(f.severity.rank >= Severity(fail_on).rank for f in found):
        raise SystemExit(1)


def terminal(*, stderr: bool = False) -> Console:
    """The terminal, which never breaks lines by itself."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True)


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """Print a value as JSON to a stream, stdout where there is none."""
    from edgeglass_diag.verbs.summary import plain

    print(json.dumps(plain(value), indent=1, allow_nan=False), file=stream, flush=True)


def print_runs(runs: list[Run], stream: TextIO) -> None:
    """Print what ``run --json`` says."""
    from edgeglass_diag.verbs.summary import run_summary

    print_json({"runs": [run_summary(done) for done in runs]}, stream)


def print_findings(run: Run, console: Console) -> None:
    """Print the findings of a run, causes before what follows from them."""
    from edgeglass_diag.verbs.tables import findings_text

    for line in findings_text(run):
        console.print(line, highlight=False)


def print_comparison(runs: list[Run], console: Console) -> None:
    """Print runs side by side."""
    from edgeglass_diag.verbs.compare import compare_runs
    from edgeglass_diag.verbs.tables import comparison_table

    for part in comparison_table(compare_runs(runs)):
        console.print(part, highlight=False)
