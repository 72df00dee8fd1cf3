"""The verb ``export``: write a run into files or a tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json


def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    to: Annotated[
        str, typer.Option("--to", help="parquet, csv, tensorboard, wandb, mlflow, trackio or embedding-atlas.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="New folder; NAME-TARGET if not given, and a tracker's own place for a tracker.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's signals and findings, or its embeddings, into files or a tracker."""
    from edgeglass_diag.exporting import check_place, export_run
    from edgeglass_diag.sinks import target_named
    from edgeglass_diag.store import load

    target = target_named(to, "--to")
    with load(folder) as run:
        written = export_run(run, target, check_place(run, target, out))
    if as_json:
        print_json({"to": to, "runs": [part.as_dict() for part in written]})
        return
    for part in written:
        counts = {"readings": part.readings, "findings": part.findings, "steps with embeddings": part.embeddings}
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        print(f"{part.name}: {said}: {part.place}")
