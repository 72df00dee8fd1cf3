"""What an explanation is going to run, said before anything is run. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.explanation.axes import Axis, cells_of, parse_axes
from edgeglass_diag.explanation.of_interventions import MOST_NOMINATED
from edgeglass_diag.explanation.of_program_maps import check_axes
from edgeglass_diag.explanation.of_recipe_maps import check_recipe_axes
from edgeglass_diag.explanation.recipe_trials import is_of_recipe, settings_of
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.folders import check_folder, default_folder, read_header
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.nominations import GENERAL, nominate


@dataclass(frozen=True)
class Request:
    """What is to be explained.

    Attributes:
        run: folder of the failing run.
        out: folder of the replays; a new one below ``runs`` if empty.
        against: a healthy run, None without one.
        suspects: options of the program with a value that may be healthy.
        tries: interventions that are tried, in place of those that the findings nominate.
        seeds: replays of each change.
        steps: length of a replay; if None, until the fault has shown itself.
        budget: seconds after which no replay begins.
        axes: settings with their values, ``NAME=VALUE,VALUE``, all combinations of which are replayed: a map.
    """

    run: str
    out: str
    against: str | None
    suspects: tuple[str, ...]
    tries: tuple[str, ...]
    seeds: int
    steps: int | None
    budget: float
    axes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError where a map is asked for and something else as well."""
        others = {"against": self.against, "suspects": self.suspects, "tries": self.tries}
        if self.axes and (given := [name for name, value in others.items() if value]):
            raise UsageError(f"explain_start: expected one of axes and {given[0]}")


def plan(request: Request) -> dict[str, Any]:
    """Return the program, the length and number of replays, and where they are written; nothing is run or written.

    Raises:
        UsageError: if the run cannot be replayed, or ``out`` is in use.
    """
    request.check()
    out = request.out or str(default_folder(f"explain-{Path(request.run).name}", Path("runs")))
    check_folder(Path(out))
    about = _of_recipe(request) if is_of_recipe(read_header(Path(request.run))) else _of_program(request)
    return {
        **about,
        "seeds": request.seeds,
        "budget_seconds": request.budget,
        "written_to": out,
        "not_touched": "a replay runs in a scratch folder, and no file that was there before is changed",
    }


def _of_program(request: Request) -> dict[str, Any]:
    subject = Subject.of_run(Path(request.run))
    program = subject.program
    words = ["-m", program.target] if program.kind == "module" else [program.target]
    return {
        "program": shlex.join(["python", *words, *program.arguments]),
        "folder": subject.folder,
        "steps_of_a_replay": request.steps or subject.steps,
        "replays": _replays(request, subject),
        "side_by_side": subject.workers,
    }


def _replays(request: Request, subject: Subject) -> str:
    """Return how many replays there are going to be, in words: it depends on what they show."""
    seeds = request.seeds
    if request.axes:
        axes = parse_axes(request.axes)
        check_axes(axes, subject)
        return _of_map(axes, seeds)
    if request.against is not None or request.suspects:
        return f"at least {4 * seeds}: both programs and what differs, each with {seeds} seeds; more if much differs"
    try:
        wanted = [Intervention.parse(each) for each in request.tries]
    except ValueError as error:
        raise UsageError(f"tries: {error}") from None
    changes = len(wanted) or min(MOST_NOMINATED, len(nominate(subject.findings)))
    certain = seeds * (1 + changes) + 1
    said = (
        f"at most {certain}: one placebo, and {1 + changes} variants with {seeds} seeds each, the unchanged one first"
    )
    return said if wanted else f"{said}; up to {seeds * len(GENERAL)} more, and sets of changes, if none cures"


def _of_map(axes: Sequence[Axis], seeds: int) -> str:
    cells = len(cells_of(axes))
    return f"{cells * seeds}: {cells} combinations of values, each with {seeds} seeds"


def _of_recipe(request: Request) -> dict[str, Any]:
    if request.suspects or request.tries:
        raise UsageError(f"suspects and tries are for programs, and {request.run} is the run of a recipe")
    settings_of(read_header(Path(request.run)))
    replays = f"at least {2 * request.seeds}: unchanged and changed, each with {request.seeds} seeds"
    if request.axes:
        axes = parse_axes(request.axes)
        check_recipe_axes(Path(request.run), axes, request.steps)
        replays = _of_map(axes, request.seeds)
    return {
        "program": f"the recipe of {request.run}",
        "steps_of_a_replay": request.steps or "those of the run, at most 60",
        "replays": replays,
    }
