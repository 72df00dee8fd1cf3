"""The verb ``audit``: forensics on logged numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.gate import Gate
from edgeglass_diag.commands.options import AsJson, BaselineFile, FailOn, SarifFile, UpdateBaseline
from edgeglass_diag.commands.output import print_json, print_parts


def audit(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Logs: CSV, JSON, JSONL, trainer_state.json, text logs, TensorBoard event files, W&B offline logs, "
            "MLflow and trackio stores, run folders."
        ),
    ],
    columns: Annotated[
        list[str],
        typer.Option("--column", help="ROLE=NAME for a column whose name is not understood, e.g. val_loss=objective."),
    ] = [],  # noqa: B006
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Batch of the losses, where the logs have none or another.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Log of a healthy training, in any of these forms, to compare with.")
    ] = None,
    as_json: AsJson = False,
    fail_on: FailOn = None,
    sarif: SarifFile = None,
    baseline: BaselineFile = None,
    update: UpdateBaseline = False,
) -> None:
    """Forensics on logged numbers alone: which cannot be true together, and what they imply."""
    from edgeglass_diag.auditing.report import audit as audit_files
    from edgeglass_diag.commands.render.audit import audit_text
    from edgeglass_diag.gate.known import is_baseline
    from edgeglass_diag.gate.results import Judged
    from edgeglass_diag.user_input.files import is_file

    if baseline is not None and against is None and not update and is_file(baseline) and not is_baseline(baseline):
        against, baseline = baseline, None  # a healthy log is what a training is measured by, too
    gate = Gate.of(fail_on, sarif, baseline, update)
    report = audit_files(files, columns=columns, batch_size=batch_size, against=against)
    if as_json:
        print_json(report.as_dict())
    else:
        print_parts(audit_text(report))
    gate.end([Judged(one.conclusions, file=Path(one.file)) for one in report.histories])
