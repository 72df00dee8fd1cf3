"""The verb ``explain``: root cause by replays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json, print_parts


def explain(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of the failing run.")],
    against: Annotated[str | None, typer.Option(help="A healthy run, or a recipe name or YAML file.")] = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value on the recipe --against.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the replays; below runs/ if not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Replays of each change.")] = 3,
    steps: Annotated[int | None, typer.Option(min=4, help="Length of a replay; at most 60 if not given.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Seconds after which no replay begins.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Replays side by side.")] = None,
    as_json: AsJson = False,
) -> None:
    """Root cause by intervention: short replays that differ in one thing, and the smallest change that cures.

    With --against, the settings in which the two runs differ are the suspects, in both directions: which of them
    cures the failing run, and which makes the healthy one fail. Without, changes that are often the cure are tried.
    """
    from edgeglass_diag.commands.render.explanation import explanation_tables
    from edgeglass_diag.explanation.of_recipes import Question, explain_run
    from edgeglass_diag.folders import default_folder

    place = out if out is not None else default_folder(f"explain-{folder.name}", Path("runs"))
    question = Question(folder, against, settings, place, seeds, steps, budget, workers)
    try:
        report = explain_run(question, _print_progress)
    except KeyboardInterrupt:
        print(f"\ninterrupted: the same command with --out {place} goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(file=sys.stderr)
    if as_json:
        print_json(report.as_dict())
    else:
        print_parts(explanation_tables(report))


def _print_progress(done: int, wanted: int, mean: float) -> None:
    left = (wanted - done) * mean
    print(
        f"\r{done} replays of {wanted}, {mean:.0f} s each, {left:.0f} s to go    ", end="", file=sys.stderr, flush=True
    )
