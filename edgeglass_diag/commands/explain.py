"""The verb ``explain``: root cause by replays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeglass_diag.commands.options import AsJson, Module
from edgeglass_diag.commands.output import print_json, print_parts
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.explanation.report import ExplainReport
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.programs.targets import Program

_Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN | PROGRAM [-- ARGS]", help="Run folder of the failing run, or a program."),
]


def explain(
    words: _Words = None,
    module: Module = None,
    against: Annotated[str | None, typer.Option(help="A healthy run; of a recipe also its name or YAML file.")] = None,
    revision: Annotated[str | None, typer.Option("--against-rev", help="Git revision in which it learned.")] = None,
    suspects: Annotated[
        list[str],
        typer.Option("--suspect", help="Option with a value that may be healthy: --lr=2e-4, or $NAME=value."),
    ] = [],  # noqa: B006
    wanted: Annotated[
        list[str],
        typer.Option("--try", help="Intervention that is tried: NAME[=VALUE][@SITE], as initial.std=0.02@latents."),
    ] = [],  # noqa: B006
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value on the recipe --against.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the replays; below runs/ if not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Replays of each change.")] = 3,
    steps: Annotated[int | None, typer.Option(min=4, help="Length of a replay in optimizer steps.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Seconds after which no replay begins.")] = None,
    parallel: Annotated[
        int | None, typer.Option("--parallel", "--workers", min=1, help="Replays side by side.")
    ] = None,
    writable: Annotated[
        list[str], typer.Option("--allow-write", help="Pattern of files that replays of a program may write.")
    ] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Root cause by intervention: short replays that differ in one thing, and the smallest change that cures.

    A program (train.py -- --lr 2e-3), or the run of one, is replayed as it is, in scratch folders, with what its
    findings nominate changed from outside. With --against, a healthy run of it, the arguments and environment
    variables in which the two differ are told apart in both directions; with --against-rev the commits since then,
    and the lines of the guilty one. Of a run of a recipe the settings are told apart.
    """
    from edgeglass_diag.commands.render.explanation import explanation_tables
    from edgeglass_diag.folders import default_folder
    from edgeglass_diag.programs.environment import clear_env

    clear_env()
    if not words and module is None:
        raise UsageError("explain: expected a run folder or a program, as runs/train-… or train.py -- --lr 2e-3")
    subject = _subject(words or [], module, settings)
    place = out if out is not None else default_folder(f"explain-{subject.name}", Path("runs"))
    try:
        if isinstance(subject, Path):
            refused = {"--against-rev": revision, "--suspect": suspects, "--try": wanted, "--allow-write": writable}
            for option in (option for option, given in refused.items() if given):
                raise UsageError(f"{option}: is for programs, and {subject} is the run of a recipe")
            report = _of_recipe(subject, against, settings, place, (seeds, steps, budget, parallel))
        else:
            numbers = (seeds, steps, budget, parallel)
            report = _of_program(subject, against, revision, suspects, place, numbers, writable, wanted)
    except KeyboardInterrupt:
        print(f"\ninterrupted: the same command with --out {place} goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(file=sys.stderr)
    if as_json:
        print_json(report.as_dict())
    else:
        print_parts(explanation_tables(report))


_Numbers = tuple[int, int | None, float | None, int | None]
"""Seeds, steps, budget and workers."""


def _subject(words: list[str], module: str | None, settings: list[str]) -> Subject | Path:
    """Return the program to explain, or the folder of a recipe's run."""
    from edgeglass_diag.explanation.recipe_trials import is_of_recipe
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.folders import read_header
    from edgeglass_diag.programs.targets import Program, Recipe, RunFolder, resolve, wrong_kind

    found = resolve(words, module)
    match found:
        case Program():
            _check_no_settings(settings, found)
            return Subject.of_program(found)
        case RunFolder():
            header = read_header(found.folder)
            return found.folder if is_of_recipe(header) else Subject.of_run(found.folder)
        case Recipe() if not Path(found.target).suffix:
            read_header(Path(found.target))  # raises: there is no such run
    raise wrong_kind("explain", "a run folder or a program", found)


def _check_no_settings(settings: list[str], program: Program) -> None:
    if settings:
        raise UsageError(f"--set {settings[0]}: is for recipes; for {program.target} use --suspect --option=value")


def _of_recipe(folder: Path, against: str | None, settings: list[str], place: Path, numbers: _Numbers) -> ExplainReport:
    from edgeglass_diag.explanation.of_recipes import Question, explain_run

    seeds, steps, budget, workers = numbers
    return explain_run(Question(folder, against, settings, place, seeds, steps, budget, workers), _print_progress)


def _of_program(
    subject: Subject,
    against: str | None,
    revision: str | None,
    suspects: list[str],
    place: Path,
    numbers: _Numbers,
    writable: list[str],
    wanted: list[str],
) -> ExplainReport:
    from edgeglass_diag.explanation.of_programs import ProgramQuestion, explain_program
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.intervention import Intervention

    healthy = None if against is None else Subject.of_run(Path(against))
    try:
        interventions = [Intervention.parse(each) for each in wanted]
    except ValueError as error:
        raise UsageError(f"--try: {error}") from None
    question = ProgramQuestion(subject, place, healthy, suspects, revision, *numbers, writable, interventions)
    return explain_program(question, _print_progress)


def _print_progress(done: int, wanted: int, mean: float) -> None:
    left = (wanted - done) * mean
    print(
        f"\r{done} replays of {wanted}, {mean:.0f} s each, {left:.0f} s to go    ", end="", file=sys.stderr, flush=True
    )
