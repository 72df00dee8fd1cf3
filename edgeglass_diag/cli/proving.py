"""Verbs that prove something: ``audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.cli.app import AsJson, FailOn, app, check_severity
from edgeglass_diag.verbs.printing import exit_on, print_json, terminal


@app.command()
def audit(
    files: Annotated[
        list[Path],
        typer.Argument(help="Logs: CSV, JSON, JSONL, TensorBoard event files, W&B offline logs, run folders."),
    ],
    columns: Annotated[
        list[str],
        typer.Option("--column", help="ROLE=NAME for a column whose name does not tell, e.g. val_loss=objective."),
    ] = [],  # noqa: B006
    as_json: AsJson = False,
    fail_on: FailOn = None,
) -> None:
    """Forensics on logged numbers alone: which cannot be true together, and what they imply."""
    from edgeglass_diag.audit import audit_files
    from edgeglass_diag.verbs.audit import audit_summary, audit_text

    check_severity(fail_on)
    audited = audit_files(files, columns=columns)
    if as_json:
        print_json(audit_summary(audited))
    else:
        for line in audit_text(audited):
            terminal().print(line, highlight=False)
    exit_on([finding for one in audited for finding in one.conclusions], fail_on)
