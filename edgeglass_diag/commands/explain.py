"""The verb ``explain``: root cause by replays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from edgeglass_diag.commands.options import AsJson, Module
from edgeglass_diag.commands.output import print_json, print_parts
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.explanation.axes import Axis
    from edgeglass_diag.explanation.report import ExplainReport
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.programs.targets import Program, Recipe

_Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN | PROGRAM [-- ARGS]", help="Run folder of the failing run, or a program; with --map also a recipe."
    ),
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
    mapped: Annotated[
        list[str],
        typer.Option(
            "--map", help="Setting and its values, optim.lr=1e-3,1e-2; repeated: all combinations are replayed."
        ),
    ] = [],  # noqa: B006
    settings: Annotated[
        list[str], typer.Option("--set", help="section.key=value on the recipe of --against or --map.")
    ] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the replays; below runs/ if not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Replays of each change.")] = 3,
    steps: Annotated[int | None, typer.Option(min=4, help="Length of a replay in optimizer steps.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Seconds after which no replay begins.")] = None,
    parallel: Annotated[
        int | None, typer.Option("--parallel", "--workers", "--jobs", min=1, help="Replays side by side.")
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

    With --map, given once for each setting, all combinations of their values are replayed: a map of where the
    training learns, of a recipe or its run (optim.lr=1e-3,1e-2) or of a program (--lr=1e-3,1e-2).
    """
    from edgeglass_diag.commands.render.explanation import explanation_tables
    from edgeglass_diag.folders import default_folder
    from edgeglass_diag.programs.environment import clear_env

    clear_env()
    if not words and module is None:
        raise UsageError("explain: expected a run folder or a program, as runs/train-… or train.py -- --lr 2e-3")
    asked = _Asked(
        against, revision, suspects, wanted, settings, writable, _axes(mapped), _Numbers(seeds, steps, budget, parallel)
    )
    asked.check()
    subject = _subject(words or [], module, asked)
    place = out if out is not None else default_folder(f"explain-{subject.name}", Path("runs"))
    try:
        report = _answer(subject, asked, place)
    except KeyboardInterrupt:
        _end_progress()
        print(f"interrupted: the same command with --out {place} goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    except UsageError:
        _end_progress()
        raise
    _end_progress()
    if as_json:
        print_json(report.as_dict())
    else:
        print_parts(explanation_tables(report))


class _Numbers(NamedTuple):
    seeds: int
    steps: int | None
    budget: float | None
    workers: int | None


@dataclass(frozen=True)
class _Asked:
    """The options of the verb."""

    against: str | None
    revision: str | None
    suspects: Sequence[str]
    wanted: Sequence[str]
    settings: Sequence[str]
    writable: Sequence[str]
    axes: Sequence[Axis]
    numbers: _Numbers

    def check(self) -> None:
        """Raise UsageError where a map is asked for and something else as well."""
        others = {"--against": self.against, "--against-rev": self.revision, "--suspect": self.suspects}
        others |= {"--try": self.wanted}
        if self.axes and (given := [option for option, value in others.items() if value]):
            raise UsageError(f"explain: expected one of --map and {given[0]}")


def _axes(texts: Sequence[str]) -> Sequence[Axis]:
    from edgeglass_diag.explanation.axes import parse_axes

    return parse_axes(texts)


def _answer(subject: Subject | Recipe | Path, asked: _Asked, place: Path) -> ExplainReport:
    from edgeglass_diag.explanation.of_recipe_maps import MapQuestion, map_recipe
    from edgeglass_diag.explanation.subjects import Subject

    if isinstance(subject, Subject):
        return _of_program(subject, asked, place)
    refused = {"--against-rev": asked.revision, "--suspect": asked.suspects, "--try": asked.wanted}
    refused |= {"--allow-write": asked.writable}
    for option in (option for option, given in refused.items() if given):
        what = f"{subject} is the run of a recipe" if isinstance(subject, Path) else f"{subject.target} is a recipe"
        raise UsageError(f"{option}: is for programs, and {what}")
    if asked.axes:
        return map_recipe(MapQuestion(subject, asked.axes, place, *asked.numbers), _print_progress)
    assert isinstance(subject, Path)  # a recipe is taken for a map alone
    return _of_recipe(subject, asked, place)


def _subject(words: list[str], module: str | None, asked: _Asked) -> Subject | Recipe | Path:
    """Return the program to explain, the folder of a recipe's run, or the recipe to map."""
    from edgeglass_diag.explanation.recipe_trials import is_of_recipe
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.folders import read_header
    from edgeglass_diag.programs.targets import Program, Recipe, RunFolder, resolve, wrong_kind

    found = resolve(words, module, asked.settings if asked.axes else ())
    match found:
        case Program():
            _check_no_settings(asked.settings, found)
            return Subject.of_program(found)
        case RunFolder():
            header = read_header(found.folder)
            return found.folder if is_of_recipe(header) else Subject.of_run(found.folder)
        case Recipe() if asked.axes:
            return found
        case Recipe() if not Path(found.target).suffix:
            read_header(Path(found.target))  # raises: there is no such run
    raise wrong_kind("explain", "a run folder or a program", found)


def _check_no_settings(settings: Sequence[str], program: Program) -> None:
    if settings:
        raise UsageError(f"--set {settings[0]}: is for recipes; for {program.target} use --suspect --option=value")


def _of_recipe(folder: Path, asked: _Asked, place: Path) -> ExplainReport:
    from edgeglass_diag.explanation.of_recipes import Question, explain_run

    return explain_run(Question(folder, asked.against, asked.settings, place, *asked.numbers), _print_progress)


def _of_program(subject: Subject, asked: _Asked, place: Path) -> ExplainReport:
    from edgeglass_diag.explanation.of_programs import ProgramQuestion, explain_program
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.intervention import Intervention

    healthy = None if asked.against is None else Subject.of_run(Path(asked.against))
    try:
        interventions = [Intervention.parse(each) for each in asked.wanted]
    except ValueError as error:
        raise UsageError(f"--try: {error}") from None
    question = ProgramQuestion(
        subject, place, healthy, asked.suspects, asked.revision, *asked.numbers, asked.writable, interventions,
        asked.axes,
    )  # fmt: skip
    return explain_program(question, _print_progress)


_told: list[int] = []
"""Replays of which the line of progress tells; empty where there is none on the screen."""


def _print_progress(done: int, wanted: int, mean: float) -> None:
    left = (wanted - done) * mean
    _told.append(done)
    print(
        f"\r{done} replays of {wanted}, {mean:.0f} s each, {left:.0f} s to go    ", end="", file=sys.stderr, flush=True
    )


def _end_progress() -> None:
    if _told:
        _told.clear()
        print(file=sys.stderr)
