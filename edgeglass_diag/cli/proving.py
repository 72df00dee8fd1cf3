"""Verbs that prove something: ``bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.cli.app import AsJson, Ignore, Select, Thresholds, app
from edgeglass_diag.records import UsageError
from edgeglass_diag.verbs.printing import print_json, terminal


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder of the runs; one that was begun is gone on with.")],
    fast: Annotated[bool, typer.Option("--fast", help="Only the fast subset.")] = False,
    faults: Annotated[str, typer.Option(help="Names of the cases, with * and ?; several with commas.")] = "*",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each case.")] = 1,
    every: Annotated[int, typer.Option(min=1, help="Distance of recorded windows in optimizer steps.")] = 10,
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Detection quality on the shipped faults and healthy models: found, named, located, delay, false alarms."""
    from edgeglass_diag.rules import configured
    from edgeglass_diag.verbs.bench import Request, run_bench
    from edgeglass_diag.verbs.bench_tables import bench_tables
    from edgeglass_diag.verbs.options import Options

    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: {out} is not a folder")
    options = Options(every=every, rules=configured({}, select=select, ignore=ignore, thresholds=thresholds))
    result = run_bench(Request(out, faults, seeds, fast), options, terminal(stderr=True).print)
    if as_json:
        print_json(result)
    else:
        for part in bench_tables(result):
            terminal().print(part, highlight=False)
