"""The verb ``profile``: a run of which some steps are traced, and where their time goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.profiling.options import ProfileOptions, traces
from edgeglass_diag.profiling.summary import summarise
from edgeglass_diag.records import UsageError
from edgeglass_diag.verbs.options import Options, check_folder
from edgeglass_diag.verbs.printing import print_json, terminal
from edgeglass_diag.verbs.profile_tables import profile_tables

if TYPE_CHECKING:
    from edgeglass_diag.programs.target import Program


def profile_program(program: Program, folder: Path, asked: ProfileOptions, *, as_json: bool) -> None:
    """Run a program to its end (with ``stop`` to the end of the traced steps); ends with its exit status.

    Raises:
        UsageError: when the folder cannot be used, or the program ended well and made no step that could be traced.
    """
    from edgeglass_diag.programs.children import Options as Invitation
    from edgeglass_diag.verbs.program import leaving, run_program, stdout_kept

    check_folder(folder)
    invitation = Invitation(str(folder.absolute()), every=1, rules={}, announce=False, profile=asked)
    with stdout_kept(as_json) as stdout:
        run, error = run_program(program, invitation)
        with run:
            about = {"status": run.status, "exit_status": run.result.get("exit_status")}
        status = leaving(error)
        found = _summary(run.name, folder, asked, required=not status)
        if found is not None and as_json:
            print_json({"runs": [{**found, **about}]}, stdout)
        elif found is not None:
            _print([found], stderr=True)
    if status:
        raise SystemExit(status)


def profile_recipe(target: str, settings: Sequence[str], folder: Path, asked: ProfileOptions, *, as_json: bool) -> None:
    """Train the jobs of a recipe up to the end of their traced steps.

    Raises:
        UsageError: for an unknown recipe or settings, folders that cannot be used, and jobs with too few steps.
    """
    from edgeglass_diag.provider_protocols import provider
    from edgeglass_diag.verbs.live import Silent
    from edgeglass_diag.verbs.run import InterruptedRunError, run_jobs

    try:
        jobs = provider().plan(target, settings)
        runs = run_jobs(jobs, folder, Options(every=1, rules=[], profile=asked), Silent())
    except ValueError as error:
        others = "" if Path(target).suffix else "; a script ends in .py, a module goes behind -m"
        raise UsageError(f"{error}{others}") from error
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
    console = terminal(stderr=stderr)
    for summary in found:
        for part in profile_tables(summary):
            console.print(part, highlight=False)
