"""Verbs that prove: ``check`` before the first step, ``explain`` by replays, ``audit`` and ``bench``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeglass_diag.cli.app import AsJson, FailOn, Ignore, Select, Thresholds, app, check_severity
from edgeglass_diag.records import UsageError
from edgeglass_diag.verbs.printing import exit_on, print_json, terminal

if TYPE_CHECKING:
    from edgeglass_diag.initcheck.check import Checked
    from edgeglass_diag.rules import Rule


@app.command()
def check(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET [-- ARGS]", help="Recipe, YAML file, script, or package.module:build."),
    ] = None,
    module: Annotated[str | None, typer.Option("-m", help="Module to run, as behind python -m.")] = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value of a recipe, or of build.")] = [],  # noqa: B006
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Preflight, no training: where each initial value comes from, and what one batch makes of it.

    A recipe is built with features drawn in place of its towers' and data. A script or module runs as ever up to its
    first optimizer step, which is not taken; processes that it starts are not followed. A function build, called with
    nothing or with the mapping of --set, gives a model, (model, batch), or (model, optimizer, step).
    """
    from edgeglass_diag.programs.bootstrap.sitecustomize import decline
    from edgeglass_diag.rules import configured, read_table
    from edgeglass_diag.verbs.program import stdout_kept

    decline()
    check_severity(fail_on)
    if not words and module is None:
        raise UsageError("check: expected a target: a recipe, a YAML file, a script, or package.module:build")
    rules = configured(read_table(Path.cwd()), select=select, ignore=ignore, thresholds=thresholds)
    with stdout_kept(as_json) as stdout:
        checked = _checked(words or [], module, settings, rules)
        if as_json:
            from edgeglass_diag.verbs.check import check_summary

            print_json(check_summary(checked), stdout)
        else:
            from edgeglass_diag.verbs.check_tables import check_tables

            for part in check_tables(checked):
                terminal().print(part, highlight=False)
    exit_on(checked.findings, fail_on)


def _checked(words: list[str], module: str | None, settings: list[str], rules: list[Rule]) -> Checked:
    from edgeglass_diag.programs.target import find_module, find_program
    from edgeglass_diag.verbs.check_targets import check_function, check_program, check_recipe, is_function

    if module is not None:
        program = find_module(module, words)
    else:
        target, *arguments = words
        found = find_program(target, arguments)
        if found is None:
            if arguments:
                raise UsageError(f"{target!r} takes no arguments, got {arguments[0]!r}; --set is for settings")
            return (check_function if is_function(target) else check_recipe)(target, settings, rules)
        program = found
    if settings:
        raise UsageError(f"--set {settings[0]}: is for recipes and functions; the arguments of a program go behind --")
    return check_program(program, rules)


@app.command()
def explain(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of the ill run.")],
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
    cures the ill run, and which makes the healthy one ill. Without, changes that are often the cure are tried.
    """
    from edgeglass_diag.verbs.explain import Question
    from edgeglass_diag.verbs.explain import explain as explain_run
    from edgeglass_diag.verbs.explanation_tables import explanation_tables
    from edgeglass_diag.verbs.options import default_folder

    place = out if out is not None else default_folder(f"explain-{folder.name}", Path("runs"))
    question = Question(folder, against, settings, place, seeds, steps, budget, workers)
    try:
        result = explain_run(question, _tell)
    except KeyboardInterrupt:
        print(f"\ninterrupted: the same command with --out {place} goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(file=sys.stderr)
    if as_json:
        print_json(result)
        return
    for part in explanation_tables(result):
        terminal().print(part, highlight=False)


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
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Batch of the losses, where the logs do not tell it or tell another.")
    ] = None,
    as_json: AsJson = False,
    fail_on: FailOn = None,
) -> None:
    """Forensics on logged numbers alone: which cannot be true together, and what they imply."""
    from edgeglass_diag.auditing.audit import audit_files
    from edgeglass_diag.verbs.audit import audit_summary, audit_text

    check_severity(fail_on)
    audited = audit_files(files, columns=columns, batch_size=batch_size)
    if as_json:
        print_json(audit_summary(audited))
    else:
        for line in audit_text(audited):
            terminal().print(line, highlight=False)
    exit_on([finding for one in audited for finding in one.conclusions], fail_on)


def _tell(done: int, wanted: int, mean: float) -> None:
    left = (wanted - done) * mean
    print(
        f"\r{done} replays of {wanted}, {mean:.0f} s each, {left:.0f} s to go    ", end="", file=sys.stderr, flush=True
    )


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder of the runs; one that was begun is gone on with.")],
    fast: Annotated[bool, typer.Option("--fast", help="Only the fast subset.")] = False,
    faults: Annotated[str, typer.Option(help="Names of the cases, with * and ?; several with commas.")] = "*",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each case.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at once; as many as cores by default.")] = None,
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
    result = run_bench(Request(out, faults, seeds, fast, workers), options, terminal(stderr=True).print)
    if as_json:
        print_json(result)
    else:
        for part in bench_tables(result):
            terminal().print(part, highlight=False)
