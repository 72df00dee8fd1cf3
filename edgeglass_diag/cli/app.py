"""The Typer app, and the options that several verbs share. Everything heavy is imported where used."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeglass_diag.records import UsageError

app = typer.Typer(
    help="Why does my vision-text alignment model not learn, and what do I change?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]
Select = Annotated[list[str], typer.Option("--select", help="Codes or prefixes of the rules that run.")]
Ignore = Annotated[list[str], typer.Option("--ignore", help="Codes or prefixes of rules that do not run.")]
Thresholds = Annotated[list[str], typer.Option("--threshold", help="CODE.name=value, e.g. EG301.signal=0.02.")]
FailOn = Annotated[str | None, typer.Option("--fail-on", help="warning or critical: exit status 1 from there on.")]


def check_severity(fail_on: str | None) -> None:
    """Raise UsageError for a severity that --fail-on does not know."""
    if fail_on not in (None, "warning", "critical"):
        raise UsageError(f"--fail-on: expected warning or critical, got {fail_on!r}")
