"""The verb ``run`` from what the user asked for to the exit status, for programs and for recipes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.records import UsageError
from edgeglass_diag.verbs.options import Options, check_folder
from edgeglass_diag.verbs.printing import exit_on, print_comparison, print_findings, print_runs, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from edgeglass_diag.programs.target import Program
    from edgeglass_diag.provider_protocols import Job
    from edgeglass_diag.store import Run


@dataclass(frozen=True)
class Request:
    """What was asked for beside the target: ``port`` of the dashboard where one is wanted, ``fail_on`` a severity."""

    folder: Path
    options: Options
    port: int | None
    fail_on: str | None
    as_json: bool


def run_program(program: Program, request: Request) -> None:
    """Run a program under observation; ends with its exit status, else as ``fail_on`` says."""
    from edgeglass_diag.programs.children import Options as Invitation
    from edgeglass_diag.programs.children import thresholds
    from edgeglass_diag.verbs.program import leaving, run_program, stdout_kept

    check_folder(request.folder)
    options, out = request.options, str(request.folder.absolute())
    invitation = Invitation(
        out, options.every, thresholds(options.rules), options.stop_on, announce=not request.as_json
    )
    console = terminal(stderr=True)
    with stdout_kept(request.as_json) as stdout, _dashboard(request, console) as address:
        run, error = run_program(program, invitation)
        with run:
            found = run.findings
            if request.as_json:
                print_runs([run], stdout)
            else:
                print_findings(run, console)
        if address is not None and not isinstance(error, KeyboardInterrupt):
            _linger(address, console)
    status = leaving(error)
    if status:
        raise SystemExit(status)
    exit_on(found, request.fail_on)


def run_recipe(target: str, settings: Sequence[str], request: Request) -> None:
    """Run the jobs of a recipe under observation; ends as ``fail_on`` says, with 130 after Ctrl-C.

    Raises:
        UsageError: for an unknown recipe, settings that are none of it, and folders that cannot be used.
    """
    from edgeglass_diag.provider_protocols import provider
    from edgeglass_diag.verbs.run import InterruptedRunError, check_folders

    try:
        jobs = provider().plan(target, settings)
    except ValueError as error:
        others = "" if Path(target).suffix else "; a script ends in .py, a module goes behind -m"
        raise UsageError(f"{error}{others}") from error
    check_folders(jobs, request.folder)
    console = terminal(stderr=request.as_json)
    interrupted = False
    runs: list[Run] = []
    try:
        runs = _run_jobs(jobs, request, console)
    except InterruptedRunError:
        interrupted = True
        runs = _finished(request.folder)
    if request.as_json:
        print_runs(runs, sys.stdout)
    elif len(runs) > 1:
        print_comparison(runs, console)
    if interrupted:
        raise SystemExit(130)
    exit_on([f for done in runs for f in done.findings], request.fail_on)


def _run_jobs(jobs: Sequence[Job], request: Request, console: Console) -> list[Run]:
    from edgeglass_diag.verbs.live import LiveView, Silent
    from edgeglass_diag.verbs.run import run_jobs

    with _dashboard(request, console) as address:
        if request.as_json:
            return run_jobs(jobs, request.folder, request.options, Silent())
        with LiveView(console) as view:
            done = run_jobs(jobs, request.folder, request.options, view)
        if address is not None and _is_watched(console):
            print_comparison(done, console)
            _linger(address, console)
        return done


@contextmanager
def _dashboard(request: Request, console: Console) -> Iterator[str | None]:
    if request.port is None:
        yield None
        return
    from edgeglass_diag.verbs.serve import dashboard

    with dashboard(request.folder, request.port) as address:
        console.print(f"dashboard: {address}", highlight=False)
        yield address


def _is_watched(console: Console) -> bool:
    """Whether somebody sits before the terminal; scripts and pipes do not wait."""
    return console.is_terminal and sys.stdin is not None and sys.stdin.isatty()


def _linger(address: str, console: Console) -> None:
    if not _is_watched(console):
        return
    console.print(f"dashboard: {address} (Ctrl-C ends it)", highlight=False)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _finished(folder: Path) -> list[Run]:
    from edgeglass_diag.store import find_runs, load

    return [load(place) for place in find_runs(folder)]
