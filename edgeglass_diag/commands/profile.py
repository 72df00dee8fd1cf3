"""The verb ``profile``: trace some steps, and show where their time goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeglass_diag.commands.options import AsJson, Module, RunOut
from edgeglass_diag.commands.output import print_json, print_parts, stdout_kept, terminal
from edgeglass_diag.commands.targets import run_folder, to_run, unknown_recipe
from edgeglass_diag.process import ending
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.profiling.options import ProfileOptions
    from edgeglass_diag.programs.targets import Program, Recipe


def profile(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET [-- ARGS]", help="Recipe, YAML file, or program.")
    ] = None,
    module: Module = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps that are traced.")] = 5,
    skip: Annotated[int, typer.Option(min=1, help="Steps before them, which warm up.")] = 3,
    stop: Annotated[
        bool, typer.Option("--stop", help="End a program behind the traced steps; recipes always do.")
    ] = False,
    out: RunOut = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value, e.g. train.batch_size=64.")] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Trace some training steps, and show where their time goes: data wait, forward, backward, optimizer, recorder.

    The target is as for run, and needs no change; a program keeps its stdout and its exit status. The traces, in the
    folder profile of the run, open in TensorBoard (torch-tb-profiler) and in Perfetto. The recorder is attached in
    every traced step, so that its cost is among them.
    """
    from edgeglass_diag.profiling.options import ProfileOptions
    from edgeglass_diag.programs.environment import clear_env
    from edgeglass_diag.programs.targets import Recipe

    clear_env()
    if not words and module is None:
        raise UsageError("profile: expected a recipe, a YAML file or a program, got none")
    target = to_run("profile", words or [], module, settings)
    folder = run_folder(out, target)
    if isinstance(target, Recipe):
        _profile_recipe(target, folder, ProfileOptions(steps, skip, stop=True), as_json=as_json)
    else:
        _profile_program(target, folder, ProfileOptions(steps, skip, stop), as_json=as_json)


def _profile_program(program: Program, folder: Path, asked: ProfileOptions, *, as_json: bool) -> None:
    """Run a program to its end (with ``stop`` to the end of the traced steps); end with its exit status.

    Raises:
        UsageError: if the folder cannot be used, or the program succeeded and made no step that could be traced.
    """
    from edgeglass_diag.folders import check_folder
    from edgeglass_diag.programs.launch import exit_argument, exit_status
    from edgeglass_diag.programs.options import ProcessOptions, WatchOptions
    from edgeglass_diag.programs.run_program import run_program

    check_folder(folder)
    options = ProcessOptions.of(WatchOptions(every=1, rules=[], profile=asked, samples=False), folder, announce=False)
    with stdout_kept(as_json) as stdout:
        outcome = run_program(program, options)
        status = exit_argument(outcome.error)
        about = {"status": str(ending(outcome.error)[0]), "exit_status": exit_status(outcome.error)}
        if outcome.run is not None:
            outcome.run.close()
        found = _summary(folder.name, folder, asked, required=not status)
        if found is not None and as_json:
            print_json({"runs": [{**found, **about}]}, stdout)
        elif found is not None:
            _print([found], stderr=True)
    if status:
        raise SystemExit(status)


def _profile_recipe(target: Recipe, folder: Path, asked: ProfileOptions, *, as_json: bool) -> None:
    """Train the jobs of a recipe up to the end of their traced steps.

    Raises:
        UsageError: if the recipe, a setting or a folder cannot be used, or a job has too few steps.
    """
    from edgeglass_diag.commands.render.live import Silent
    from edgeglass_diag.programs.options import WatchOptions
    from edgeglass_diag.programs.run_jobs import InterruptedRunError, run_jobs
    from edgeglass_diag.provider_protocols import provider

    try:
        jobs = provider().plan(target.target, target.settings)
        runs = run_jobs(jobs, folder, WatchOptions(every=1, rules=[], profile=asked, samples=False), Silent())
    except ValueError as error:
        raise unknown_recipe(error, target) from error
    except InterruptedRunError:
        raise SystemExit(130) from None
    found = []
    for run in runs:
        with run:
            summary = _summary(run.name, run.folder, asked, required=True)
            found += [{**summary, "status": run.status}] if summary is not None else []
    if as_json:
        print_json({"runs": found}, sys.stdout)
    else:
        _print(found, stderr=False)


def _summary(name: str, folder: Path, asked: ProfileOptions, *, required: bool) -> dict[str, Any] | None:
    from edgeglass_diag.profiling.options import traces
    from edgeglass_diag.profiling.summary import summarise

    files = traces(folder)
    try:
        about = {"name": name, "out": str(folder), "traces": [str(file) for file in files]}
        return {**about, "asked": asked.steps, **summarise(files)}
    except ValueError as error:
        if not required:
            return None
        raise UsageError(
            f"nothing profiled: expected more than {asked.skip} optimizer steps (--skip), of which the next"
            f" {asked.steps} are traced (--steps); {error}"
        ) from error


def _print(found: Sequence[dict[str, Any]], *, stderr: bool) -> None:
    from edgeglass_diag.commands.render.profile import profile_tables

    console = terminal(stderr=stderr)
    for summary in found:
        print_parts(profile_tables(summary), console)
