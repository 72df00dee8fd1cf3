"""The verb ``diagnose``: what is wrong with a training, in one bounded answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    RunOut,
    SarifFile,
    Select,
    StopOn,
    Thresholds,
    UpdateBaseline,
    chosen_rules,
    stop_codes,
)
from edgeglass_diag.commands.output import output_into, print_json
from edgeglass_diag.commands.targets import run_folder, unknown_recipe
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.diagnosis.diagnose import Diagnosis
    from edgeglass_diag.programs.options import WatchOptions
    from edgeglass_diag.programs.targets import Program, Recipe, Target


def diagnose(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN | TARGET [-- ARGS]", help="Run folder, program, recipe or YAML file."),
    ] = None,
    module: Module = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of a program: optimizer steps after which it is stopped.")
    ] = None,
    every: Every = None,
    no_samples: NoSamples = False,
    out: RunOut = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value of a recipe.")] = [],  # noqa: B006
    stop_on: StopOn = [],  # noqa: B006
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    fail_on: FailOn = None,
    sarif: SarifFile = None,
    baseline: BaselineFile = None,
    update: UpdateBaseline = False,
    as_json: AsJson = False,
) -> None:
    """What is wrong with a training, in at most 60 lines: verdict, evidence, proved and guessed, the next command.

    A run folder is read, also while the training goes on. A program (train.py -- --lr 2e-3, or -m pkg.train -- ...)
    is trained under watch first, as by run; what it prints goes to a file beside the run's folder.
    """
    from edgeglass_diag.programs.environment import clear_env
    from edgeglass_diag.programs.options import WatchOptions
    from edgeglass_diag.programs.targets import Program, Recipe, RunFolder, resolve, wrong_kind

    clear_env()
    gate = Gate.of(fail_on, sarif, baseline, update)
    if not words and module is None:
        raise UsageError("diagnose: expected a run folder or a program, as runs/train-... or train.py -- --lr 2e-3")
    target = _target(resolve(words or [], module, settings))
    options = WatchOptions(every, chosen_rules(select, ignore, thresholds), stop_codes(stop_on), samples=not no_samples)
    match target:
        case RunFolder():
            _refuse("a run is read as it is", {"--steps": steps, "--out": out, "--stop-on": stop_on})
            _read(target.folder, gate, as_json=as_json)
        case Program():
            _of_program(target, _Asked(run_folder(out, target), options, steps, gate, as_json))
        case Recipe():
            _refuse("a recipe has its own number of steps", {"--steps": steps})
            _of_recipe(target, _Asked(run_folder(out, target), options, steps, gate, as_json))
        case _:
            raise wrong_kind("diagnose", "a run folder, a program, a recipe or a YAML file", target)


@dataclass(frozen=True)
class _Asked:
    """What was asked for of a training."""

    folder: Path
    options: WatchOptions
    steps: int | None
    gate: Gate
    as_json: bool


def _target(found: Target) -> Target:
    """Return the target; a folder that is no program is taken for one that should hold a run."""
    from edgeglass_diag.programs.targets import Recipe, RunFolder
    from edgeglass_diag.user_input.files import is_folder

    is_place = isinstance(found, Recipe) and is_folder(Path(found.target))
    return RunFolder(Path(found.target)) if is_place and isinstance(found, Recipe) else found


def _refuse(why: str, given: dict[str, object]) -> None:
    for option in (option for option, value in given.items() if value):
        raise UsageError(f"{option}: {why}")


def _read(folder: Path, gate: Gate, *, as_json: bool) -> None:
    from edgeglass_diag.diagnosis.diagnose import diagnose as diagnose_run
    from edgeglass_diag.diagnosis.diagnose import open_run
    from edgeglass_diag.gate.subjects import of_run, shortfall

    with open_run(folder) as run:
        _print(diagnose_run(run), sys.stdout, as_json=as_json)
        judged, incomplete = of_run(run), shortfall(run)
    gate.end([judged], incomplete=incomplete)


def _print(found: Diagnosis, stream: TextIO, *, as_json: bool) -> None:
    if as_json:
        print_json(found.as_dict(), stream)
    else:
        print(found.as_text(), file=stream, flush=True)


def _of_program(program: Program, asked: _Asked) -> None:
    """Train a program under watch and diagnose it; end with 130 after Ctrl-C.

    Raises:
        UsageError: if the folder cannot be used, or the record cannot be read.
    """
    from edgeglass_diag.diagnosis.diagnose import diagnose as diagnose_run
    from edgeglass_diag.folders import check_folder
    from edgeglass_diag.gate.subjects import of_run, shortfall
    from edgeglass_diag.programs.launch import exit_status
    from edgeglass_diag.programs.options import ProcessOptions
    from edgeglass_diag.programs.run_program import run_program

    check_folder(asked.folder)
    log = asked.folder.absolute().with_name(f"{asked.folder.name}.log")
    print(f"edgeglass-diag: {program.name} runs under watch; it prints to {log}", file=sys.stderr, flush=True)
    options = replace(ProcessOptions.of(asked.options, asked.folder, announce=False), steps=asked.steps)
    with output_into(log) as stdout:
        outcome = run_program(program, options)
        if outcome.run is None:
            raise UsageError(f"diagnose: the record of {program.name} cannot be read: {outcome.problem}")
        with outcome.run as run:
            _print(diagnose_run(run), stdout, as_json=asked.as_json)
            judged, incomplete = of_run(run), shortfall(run)
    failed = asked.gate.fails([judged], incomplete=incomplete)
    if isinstance(outcome.error, KeyboardInterrupt):
        raise SystemExit(130)
    crashed = asked.gate.fail_on is not None and exit_status(outcome.error) != 0
    if failed or crashed:
        raise SystemExit(1)


def _of_recipe(recipe: Recipe, asked: _Asked) -> None:
    """Train the runs of a recipe under watch, and diagnose the worst of them.

    Raises:
        UsageError: if the recipe, a setting or a folder cannot be used.
    """
    from edgeglass_diag.commands.render.live import Silent
    from edgeglass_diag.diagnosis.diagnose import diagnose as diagnose_run
    from edgeglass_diag.gate.subjects import of_run, shortfall
    from edgeglass_diag.programs.run_jobs import InterruptedRunError, run_jobs
    from edgeglass_diag.provider_protocols import provider

    try:
        runs = run_jobs(provider().plan(recipe.target, recipe.settings), asked.folder, asked.options, Silent())
    except ValueError as error:
        raise unknown_recipe(error, recipe) from error
    except InterruptedRunError:
        raise SystemExit(130) from None
    found = [diagnose_run(run) for run in runs]
    worst = _worst(found)
    for other in (each for each in found if each is not worst):
        print(f"edgeglass-diag: {other.folder}: {other.verdict.text}", file=sys.stderr)
    _print(worst, sys.stdout, as_json=asked.as_json)
    judged = [of_run(run, run.name if len(runs) > 1 else "") for run in runs]
    asked.gate.end(judged, incomplete="; ".join(filter(None, map(shortfall, runs))))


def _worst(found: Sequence[Diagnosis]) -> Diagnosis:
    from edgeglass_diag.verdict import TONES

    return min(found, key=lambda each: TONES.index(each.verdict.tone))
