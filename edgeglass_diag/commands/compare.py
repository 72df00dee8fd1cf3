"""The verb ``compare``: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json, print_parts
from edgeglass_diag.records import UsageError


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more run folders.")], as_json: AsJson = False
) -> None:
    """The runs side by side: losses, recalls, findings, first divergence."""
    from edgeglass_diag.commands.render.comparison import comparison_tables
    from edgeglass_diag.comparison import compare_runs
    from edgeglass_diag.store import find_runs, load

    places = [p for folder in folders for p in (find_runs(folder) or [folder])]
    if len(places) < 2:
        raise UsageError(f"compare needs at least two runs, got {len(places)}")
    runs = [load(place) for place in places]
    comparison = compare_runs(runs)
    if as_json:
        print_json(comparison)
    else:
        print_parts(comparison_tables(comparison))
