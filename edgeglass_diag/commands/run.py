"""The verb ``run``: train a recipe or any program under observation."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from edgeglass_diag.commands.gate import Gate
from edgeglass_diag.commands.options import (
    AsJson,
    BaselineFile,
    Every,
    FailOn,
    Ignore,
    Module,
    NoSamples,
    Notify,
    ReportTo,
    RunOut,
    SarifFile,
    Select,
    StopOn,
    Thresholds,
    UpdateBaseline,
    chosen_rules,
    stop_codes,
    webhook_of,
)
from edgeglass_diag.commands.output import print_json, print_parts, stdout_kept, terminal
from edgeglass_diag.commands.targets import run_folder, to_run, unknown_recipe
from edgeglass_diag.process import say
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from edgeglass_diag.gate.results import Judged
    from edgeglass_diag.programs.options import WatchOptions
    from edgeglass_diag.programs.run_program import Outcome
    from edgeglass_diag.programs.targets import Program, Recipe
    from edgeglass_diag.provider_protocols import Job
    from edgeglass_diag.store import Run


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET [-- ARGS]", help="Recipe (incident if none is given), YAML file, or program."),
    ] = None,
    module: Module = None,
    watch: Annotated[bool, typer.Option("--watch", help="Serve the dashboard during the run.")] = False,
    port: Annotated[int, typer.Option(help="Port of the dashboard; the next free one if taken.")] = 8050,
    every: Every = None,
    no_samples: NoSamples = False,
    out: RunOut = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in OUT, as the program does from its checkpoint; a new one if none is."
        ),
    ] = False,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value, e.g. optim.lr=2e-4.")] = [],  # noqa: B006
    stop_on: StopOn = [],  # noqa: B006
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    report_to: ReportTo = [],  # noqa: B006
    notify: Notify = None,
    fail_on: FailOn = None,
    sarif: SarifFile = None,
    baseline: BaselineFile = None,
    update: UpdateBaseline = False,
    as_json: AsJson = False,
) -> None:
    """Train under observation and flag faults as they appear.

    The target is a recipe, or any training program, which needs no change: a script (train.py -- --lr 2e-3), a
    module (-m pkg.train -- --lr 2e-3), a folder with a __main__.py. A program keeps its stdout and its exit status;
    messages of this tool go to stderr. With --json its stdout goes to stderr, so that stdout is JSON alone. The
    processes that it starts (torchrun, Fabric, accelerate) are watched as well, each rank into a folder of its own.
    """
    from edgeglass_diag.programs.environment import clear_env
    from edgeglass_diag.programs.options import WatchOptions
    from edgeglass_diag.programs.targets import Recipe
    from edgeglass_diag.sinks import live_targets

    clear_env()
    address = webhook_of(notify)
    gate = Gate.of(fail_on, sarif, baseline, update, secret=address)
    sinks = tuple(target.name for target in live_targets(report_to, "--report-to"))
    named = words or ([] if module is not None else ["incident"])
    target = to_run("run", named, module, settings)
    if resume and out is None:
        raise UsageError("--resume: expected the folder of the run that goes on, as --out runs/mine")
    options = WatchOptions(
        every,
        chosen_rules(select, ignore, thresholds),
        stop_codes(stop_on),
        report_to=sinks,
        notify=address,
        samples=not no_samples,
        resume=resume,
    )
    request = _Request(run_folder(out, target), options, port if watch else None, gate, as_json)
    if isinstance(target, Recipe):
        _run_recipe(target, request)
    else:
        _run_program(target, request)


@dataclass(frozen=True)
class _Request:
    """The options of a run; ``port`` is that of the dashboard, None if none is wanted."""

    folder: Path
    options: WatchOptions
    port: int | None
    gate: Gate
    as_json: bool


def _run_program(program: Program, request: _Request) -> None:
    """Run a program under observation; end with its exit status, or with that of its gate if it succeeded."""
    from edgeglass_diag.folders import check_folder
    from edgeglass_diag.programs.launch import exit_argument
    from edgeglass_diag.programs.options import ProcessOptions
    from edgeglass_diag.programs.run_program import run_program
    from edgeglass_diag.programs.targets import source_of

    check_folder(request.folder, resume=request.options.resume)
    source = source_of(program)
    file = None if source is None else Path.cwd() / source  # the program may go elsewhere
    options = ProcessOptions.of(request.options, request.folder, announce=not request.as_json)
    console = terminal(stderr=True)
    with stdout_kept(request.as_json) as stdout, _dashboard(request, console) as address:
        outcome = run_program(program, options)
        judged: list[Judged] = []
        incomplete = "what was recorded could not be judged"
        try:
            found, incomplete = _judged(outcome, file)
            judged = [found]
        except Exception as error:  # a full disk, no descriptor left: the program ends as it has ended
            say("the findings could not be judged", error)
        try:
            _show(outcome, request, console, stdout)
        except Exception as error:  # a closed terminal, a full disk: the program ends as it has ended
            say("the findings could not be shown", error)
        if address is not None and not isinstance(outcome.error, KeyboardInterrupt):
            _linger(address, console)
    status = exit_argument(outcome.error)
    failed = request.gate.fails(judged, incomplete=incomplete)
    if status or failed:
        raise SystemExit(status or 1)


def _judged(outcome: Outcome, file: Path | None) -> tuple[Judged, str]:
    """Return the findings of a program, and why there may be more."""
    from edgeglass_diag.gate.results import Judged
    from edgeglass_diag.gate.subjects import of_run, shortfall

    if outcome.run is None:
        return Judged(outcome.findings, file=file), "the record cannot be read"
    return of_run(outcome.run), shortfall(outcome.run)


def _show(outcome: Outcome, request: _Request, console: Console, stdout: TextIO) -> None:
    """Print the findings; those that the process itself has made where its record cannot be read."""
    from edgeglass_diag.commands.render.findings import findings_text, nested_text
    from edgeglass_diag.plain_values import finding_summary

    if outcome.run is None:
        say(f"the record cannot be read ({outcome.problem}); what was found until the end:")
        if request.as_json:
            found = [finding_summary(finding) for finding in outcome.findings]
            lost = {"name": request.folder.name, "out": str(request.folder), "status": "failed"}
            print_json({"runs": [{**lost, "error": outcome.problem, "findings": found}]}, stdout)
        else:
            print_parts(nested_text(outcome.findings), console)
        return
    with outcome.run as run:
        if request.as_json:
            _print_runs([run], stdout)
        else:
            print_parts(findings_text(run), console)


def _run_recipe(target: Recipe, request: _Request) -> None:
    """Run the jobs of a recipe under observation; end with the status of its gate, with 130 after Ctrl-C.

    Raises:
        UsageError: if the recipe, one of its settings or a folder cannot be used.
    """
    from edgeglass_diag.gate.subjects import of_run, shortfall
    from edgeglass_diag.programs.run_jobs import InterruptedRunError, check_folders
    from edgeglass_diag.provider_protocols import provider

    try:
        jobs = provider().plan(target.target, target.settings)
    except ValueError as error:
        raise unknown_recipe(error, target) from error
    check_folders(jobs, request.folder, resume=request.options.resume)
    console = terminal(stderr=request.as_json)
    interrupted = False
    runs: list[Run] = []
    try:
        runs = _run_jobs(jobs, request, console)
    except InterruptedRunError:
        interrupted = True
        runs = _finished(request.folder)
    if request.as_json:
        _print_runs(runs, sys.stdout)
    elif len(runs) > 1:
        _print_comparison(runs, console)
    judged = [of_run(done, done.name if len(jobs) > 1 else "") for done in runs]
    failed = request.gate.fails(judged, incomplete="; ".join(filter(None, map(shortfall, runs))))
    if interrupted or failed:
        raise SystemExit(130 if interrupted else 1)


def _run_jobs(jobs: Sequence[Job], request: _Request, console: Console) -> list[Run]:
    from edgeglass_diag.commands.render.live import LiveView, Silent
    from edgeglass_diag.own_rank import speaks
    from edgeglass_diag.programs.run_jobs import run_jobs

    with _dashboard(request, console) as address:
        if request.as_json or not speaks():
            return run_jobs(jobs, request.folder, request.options, Silent())
        with LiveView(console) as view:
            done = run_jobs(jobs, request.folder, request.options, view)
        if address is not None and _is_watched(console):
            _print_comparison(done, console)
            _linger(address, console)
        return done


@contextmanager
def _dashboard(request: _Request, console: Console) -> Iterator[str | None]:
    from edgeglass_diag.own_rank import speaks

    if request.port is None or not speaks():
        yield None
        return
    from edgeglass_diag.commands.serving import dashboard

    with dashboard(request.folder, request.port) as address:
        console.print(f"dashboard: {address}", highlight=False)
        yield address


def _is_watched(console: Console) -> bool:
    """Return whether the terminal is interactive; scripts and pipes do not wait."""
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


def _print_runs(runs: Sequence[Run], stream: TextIO) -> None:
    from edgeglass_diag.run_summary import run_summary

    print_json({"runs": [run_summary(done) for done in runs]}, stream)


def _print_comparison(runs: Sequence[Run], console: Console) -> None:
    from edgeglass_diag.commands.render.comparison import comparison_tables
    from edgeglass_diag.comparison import compare_runs

    print_parts(comparison_tables(compare_runs(runs)), console)
