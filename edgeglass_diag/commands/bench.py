"""The verb ``bench``: detection quality on known faults and healthy models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson, Every, Ignore, Select, Thresholds
from edgeglass_diag.commands.output import print_json, print_parts, terminal
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_folder


def bench(
    out: Annotated[Path, typer.Option(help="Folder of the runs; one that was begun is continued.")],
    fast: Annotated[bool, typer.Option("--fast", help="Only the fast subset.")] = False,
    faults: Annotated[str, typer.Option(help="Names of the cases, with * and ?; several with commas.")] = "*",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each case.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at once; as many as cores by default.")] = None,
    every: Every = 10,
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Detection quality on the shipped faults and healthy models: found, named, located, delay, false alarms."""
    from edgeglass_diag.bench.runs import Request, run_bench
    from edgeglass_diag.commands.render.bench import bench_tables
    from edgeglass_diag.programs.options import WatchOptions
    from edgeglass_diag.rules import configured

    if exists(out) and not is_folder(out):
        raise UsageError(f"--out: {out} is not a folder")
    options = WatchOptions(every=every, rules=configured({}, select=select, ignore=ignore, thresholds=thresholds))
    result = run_bench(Request(out, faults, seeds, fast, workers), options, terminal(stderr=True).print)
    if as_json:
        print_json(result)
    else:
        print_parts(bench_tables(result))
