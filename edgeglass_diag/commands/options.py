"""Options that several verbs share, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeglass_diag.rules import Rule

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]
Select = Annotated[list[str], typer.Option("--select", help="Codes or prefixes of the rules that run.")]
Ignore = Annotated[list[str], typer.Option("--ignore", help="Codes or prefixes of rules that do not run.")]
Thresholds = Annotated[list[str], typer.Option("--threshold", help="CODE.name=value, e.g. EG301.signal=0.02.")]
FailOn = Annotated[
    str | None,
    typer.Option("--fail-on", help="warning or critical: exit status 1 from there on; warning with --baseline."),
]
Notify = Annotated[
    str | None,
    typer.Option("--notify", metavar="URL", help="Webhook that is told of each finding (Slack, Discord, JSON)."),
]
SarifFile = Annotated[Path | None, typer.Option("--sarif", metavar="FILE", help="Write the findings as SARIF 2.1.0.")]
BaselineFile = Annotated[
    Path | None, typer.Option("--baseline", metavar="FILE", help="Findings that are known: only others fail.")
]
UpdateBaseline = Annotated[
    bool, typer.Option("--update-baseline", help="Write what is found now to the file of --baseline.")
]
Every = Annotated[
    int | None,
    typer.Option(
        min=1, help="Distance of recorded windows in optimizer steps; 10, and in long runs up to 160, if not given."
    ),
]
NoSamples = Annotated[
    bool, typer.Option("--no-samples", help="Keep no pictures and captions with embeddings.", show_default=False)
]
ReportTo = Annotated[
    list[str],
    typer.Option("--report-to", help="tensorboard, wandb, mlflow or trackio: fed as the run goes."),
]
Module = Annotated[str | None, typer.Option("-m", help="Module to run, as behind python -m.")]
StopOn = Annotated[list[str], typer.Option("--stop-on", help="Code of a finding that ends the run.")]
RunOut = Annotated[Path | None, typer.Option(help="Folder of the run; below runs/ if not given.")]


def webhook_of(address: str | None) -> str | None:
    """Return the address of --notify.

    Raises:
        UsageError: if it is no http or https address; what may be secret of it is not repeated.
    """
    if address is None:
        return None
    from edgeglass_diag.alerts.address import check_address

    return check_address(address, "--notify")


def stop_codes(codes: Sequence[str]) -> tuple[str, ...]:
    """Return the codes of --stop-on as they are today.

    Raises:
        UsageError: for a code that no rule has or had.
    """
    if not codes:
        return ()
    from edgeglass_diag.rules import all_rules
    from edgeglass_diag.rules.choice import codes_to_stop_on

    return codes_to_stop_on(codes, [rule() for rule in all_rules()], option="--stop-on")


def chosen_rules(select: Sequence[str], ignore: Sequence[str], thresholds: Sequence[str]) -> list[Rule]:
    """Return the rules of the options, with what pyproject.toml configures.

    Raises:
        UsageError: if a code or a threshold does not exist, or the configuration is wrong.
    """
    from edgeglass_diag.rules import configured, read_table

    return configured(read_table(), select=select, ignore=ignore, thresholds=thresholds)
