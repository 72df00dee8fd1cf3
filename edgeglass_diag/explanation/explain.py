"""The public function ``explain``: the root cause of a failing training, by replays that differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from edgeglass_diag.explanation.axes import Axis, parse_axes
from edgeglass_diag.explanation.of_programs import ProgramQuestion, explain_program
from edgeglass_diag.explanation.of_recipe_maps import MapQuestion, map_recipe
from edgeglass_diag.explanation.of_recipes import Question, explain_run
from edgeglass_diag.explanation.recipe_trials import is_of_recipe
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.folders import default_folder, read_header
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.programs.targets import Recipe, find_program, resolve
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import Run

if TYPE_CHECKING:
    from edgeglass_diag.explanation.of_functions import Build


@overload
def explain(
    subject: str | Path | Run,
    against: str | Path | Run | None = None,
    *,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport: ...


@overload
def explain(
    subject: str | Path | Run,
    against: str | Path | Run | None = None,
    *,
    arguments: Sequence[str] = (),
    against_rev: str | None = None,
    suspects: Sequence[str] = (),
    interventions: Sequence[str | Intervention] = (),
    writable: Sequence[str] = (),
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport: ...


@overload
def explain(
    subject: str | Path | Run,
    *,
    axes: Sequence[str],
    settings: Sequence[str] = (),
    arguments: Sequence[str] = (),
    writable: Sequence[str] = (),
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport: ...


@overload
def explain(
    subject: Build,
    *,
    failing: Mapping[str, Any],
    healthy: Mapping[str, Any],
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport: ...


def explain(  # noqa: PLR0913  the options of one question; all but the subject have defaults
    subject: str | Path | Run | Build,
    against: str | Path | Run | None = None,
    *,
    failing: Mapping[str, Any] | None = None,
    healthy: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    arguments: Sequence[str] = (),
    against_rev: str | None = None,
    suspects: Sequence[str] = (),
    interventions: Sequence[str | Intervention] = (),
    axes: Sequence[str] = (),
    writable: Sequence[str] = (),
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport:
    """Explain why a training fails, by short replays that differ in one thing.

    A program (``train.py``), or the recorded run of one, is replayed in processes of its own, guarded against writes
    to files that were there before. A recorded run of a recipe is replayed with other settings, in processes of its
    own as well (so a script needs ``if __name__ == "__main__":``). A function that builds a training from settings is
    called here.

    Args:
        subject: the failing run or its folder; a program by its path; or a function from settings to (model, optimizer,
            step), of which a call of ``step`` takes one optimizer step on the next batch.
        against: a healthy run or its folder; of a recipe also its name or YAML file. If None, changes are tried: of a
            program those that its findings nominate.
        arguments: command line of the program, where it is given by its path.
        against_rev: git revision in which the program learned.
        suspects: options of the program with a value that may be healthy, as ``--lr=2e-4``.
        interventions: what is tried from outside in place of what the findings nominate, as
            ``initial.std=0.02@latents``.
        axes: settings with their values, as ``optim.lr=1e-3,1e-2``, all combinations of which are replayed: a map, also
            of a recipe by its name.
        writable: patterns of files that replays of a program may write.
        failing: settings with which the function's training fails. Of a function alone, like ``healthy``.
        healthy: settings with which it learns.
        settings: ``section.key=value`` on the recipe ``against``, or on the one that is mapped.
        out: folder of the replays, each of which is a run; below ``runs`` if None.
        seeds: replays of each change.
        steps: length of a replay in optimizer steps; if None until the fault has shown itself, at least 60, of a
            program, at most 60 of a recipe, and 100 of a function.
        budget: seconds after which no replay begins.

    Raises:
        UsageError: if the two have equal settings or none, an intervention is not known, ``out`` is in use, or the
            budget is too small.
    """
    if callable(subject):
        _refuse(interventions)
        if failing is None or healthy is None or against is not None or settings:
            raise UsageError("explain: expected failing= and healthy= settings with a function, and nothing against")
        return _of_function(subject, failing, healthy, out, seeds=range(seeds), steps=steps, budget=budget)
    if failing is not None or healthy is not None:
        raise UsageError("explain: failing= and healthy= are for a function; a run is compared by against=")
    folder = _folder(subject)
    if axes:
        if against is not None or against_rev is not None or suspects or interventions:
            raise UsageError("explain: expected axes= alone, without against=, against_rev=, suspects=, interventions=")
        return _map(folder, parse_axes(axes), arguments, settings, writable, out, _Numbers(seeds, steps, budget))
    if (program := _program(folder, arguments)) is not None:
        if settings:
            raise UsageError(f"explain: settings={settings[0]!r} is for recipes; of a program use suspects=")
        other = None if against is None else Subject.of_run(_folder(against))
        place = Path(out) if out is not None else default_folder(f"explain-{program.name}", Path("runs"))
        wanted = [each if isinstance(each, Intervention) else _intervention(each) for each in interventions]
        return explain_program(
            ProgramQuestion(
                program, place, other, suspects, against_rev, seeds, steps, budget, writable=writable, wanted=wanted
            )
        )
    _refuse(interventions)
    place = Path(out) if out is not None else default_folder(f"explain-{folder.name}", Path("runs"))
    recipe = None if against is None else str(against.folder if isinstance(against, Run) else against)
    return explain_run(Question(folder, recipe, settings, place, seeds, steps, budget))


class _Numbers(NamedTuple):
    seeds: int
    steps: int | None
    budget: float | None


def _map(
    folder: Path,
    axes: Sequence[Axis],
    arguments: Sequence[str],
    settings: Sequence[str],
    writable: Sequence[str],
    out: str | Path | None,
    numbers: _Numbers,
) -> ExplainReport:
    place = Path(out) if out is not None else default_folder(f"explain-{folder.stem}", Path("runs"))
    found = resolve([str(folder), *arguments], settings=settings)
    if isinstance(found, Recipe):
        return map_recipe(MapQuestion(found, axes, place, *numbers))
    program = _program(folder, arguments)
    if program is None:
        return map_recipe(MapQuestion(folder, axes, place, *numbers))
    return explain_program(ProgramQuestion(program, place, None, (), None, *numbers, writable=writable, axes=axes))


def _program(place: Path, arguments: Sequence[str]) -> Subject | None:
    """Return the program at a path, or that of a run; None for a run of a recipe."""
    found = find_program(str(place), arguments)
    if found is not None:
        return Subject.of_program(found)
    return None if is_of_recipe(read_header(place)) else Subject.of_run(place)


def _of_function(
    build: Build,
    failing: Mapping[str, Any],
    healthy: Mapping[str, Any],
    out: str | Path | None,
    *,
    seeds: Sequence[int],
    steps: int | None,
    budget: float | None,
) -> ExplainReport:
    from edgeglass_diag.explanation.of_functions import explain_build

    place = Path(out) if out is not None else default_folder("explain", Path("runs"))
    return explain_build(
        build, failing=failing, healthy=healthy, out=place, steps=steps or 100, seeds=seeds, budget=budget
    )


def _refuse(interventions: Sequence[str | Intervention]) -> None:
    """Raise UsageError where interventions are asked for in what is explained by its settings."""
    if interventions:
        raise UsageError("explain: interventions= are for programs, whose settings are not known")


def _intervention(text: str) -> Intervention:
    try:
        return Intervention.parse(text)
    except ValueError as error:
        raise UsageError(f"explain: interventions={text!r}: {error}") from None


def _folder(subject: str | Path | Run) -> Path:
    return subject.folder if isinstance(subject, Run) else Path(subject)
