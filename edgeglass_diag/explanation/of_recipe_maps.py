"""Map how the training of a recipe goes over a grid of its settings."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgeglass_diag.explanation.axes import Axis, Cell, cells_of, label_of
from edgeglass_diag.explanation.command import command, map_options, numbers
from edgeglass_diag.explanation.keeping import keep
from edgeglass_diag.explanation.map_report import MapFacts, map_report, map_row
from edgeglass_diag.explanation.mapping import CELL, WINDOWS, phase_map, run_cells
from edgeglass_diag.explanation.of_recipes import STEPS, canonical, check_replays
from edgeglass_diag.explanation.pool import Pool, Progress
from edgeglass_diag.explanation.recipe_trials import RecipeTrial, settings_of
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.folders import read_header
from edgeglass_diag.programs.targets import Recipe
from edgeglass_diag.provider_protocols import Job, provider
from edgeglass_diag.records import UsageError
from edgeglass_diag.settings import flatten, nested
from edgeglass_diag.user_input.yaml_text import parse_yaml
from edgeglass_diag.workers import default_workers

_DATA = ("data.", "tower.")
"""Sections of the settings that say of what the features are made."""


@dataclass(frozen=True)
class MapQuestion:
    """What is to be mapped, and how.

    Attributes:
        subject: folder of a recorded run of a recipe, or a recipe.
        axes: settings with their values.
        out: folder of the replays.
        seeds: how many seeds.
        steps: length of a replay; if None the run's own, at most 60.
        budget: seconds after which no replay begins.
        workers: processes.
    """

    subject: Path | Recipe
    axes: Sequence[Axis]
    out: Path
    seeds: int = 3
    steps: int | None = None
    budget: float | None = None
    workers: int | None = None


def check_recipe_axes(run: Path, axes: Sequence[Axis], steps: int | None) -> None:
    """Check that the axes are settings of a recorded recipe run with values that they take; nothing is run.

    Args:
        run: folder of the run.
        axes: settings with their values.
        steps: length of a replay; if None the run's own, at most 60.

    Raises:
        UsageError: if a setting does not exist, has no effect on a replay, or has a value that it cannot take.
    """
    recorded = settings_of(read_header(run))
    _settings(recorded, axes, _length(recorded, steps), int(recorded.get("seed") or 0))


def map_recipe(question: MapQuestion, progress: Progress | None = None) -> ExplainReport:
    """Replay each combination of the settings, and return the map, which is also written to ``OUT/explain.json``.

    Replays with the same settings that are in ``OUT`` already are read instead of made again. One that fails is a
    cell that crashed.

    Raises:
        UsageError: before anything runs, if a setting does not exist, has no effect on a replay, or has a value that it
            cannot take; if the data are unusable, or ``out`` is in use.
    """
    begun = time.monotonic()
    run = question.subject if isinstance(question.subject, Path) else None
    recorded, job = _recorded(question.subject)
    steps = _length(recorded, question.steps)
    seeds = [int(recorded.get("seed") or 0) + number for number in range(question.seeds)]
    _settings(recorded, question.axes, steps, seeds[0])
    check_replays(question.out)
    whole = recorded if job is None else {**recorded, "total_steps": _prepared(job)}
    settings = _settings(whole, question.axes, steps, seeds[0])
    trials = {cell: _trials(label_of(question.axes, cell), of, seeds, steps) for cell, of in settings.items()}
    _prepare_features([of[0] for of in trials.values() if of])
    deadline = None if question.budget is None else begun + question.budget
    workers = question.workers or default_workers()
    with Pool(question.out, workers=workers, deadline=deadline, progress=progress, goes_on=True) as pool:
        results = run_cells(trials, pool)
        finished = not pool.is_budget_spent
    ended = [each for of in trials.values() for each in of if each.key in pool.done or each.key in pool.failed]
    rows = [map_row(each, pool.done[each.key][1] if each.key in pool.done else None) for each in ended]
    facts = MapFacts(question.seeds, steps, finished, time.monotonic() - begun, run)
    result = replace(map_report(phase_map(question.axes, results), rows, facts), again=_again(question))
    keep(result, question.out, run)
    return result


def _length(recorded: Mapping[str, Any], steps: int | None) -> int:
    return steps or min(STEPS, int(recorded.get("total_steps") or STEPS))


def _again(question: MapQuestion) -> tuple[str, ...]:
    asked = numbers(seeds=question.seeds, steps=question.steps, budget=question.budget, workers=question.workers)
    return command(question.subject, {**map_options(question.axes), **asked})


def _recorded(subject: Path | Recipe) -> tuple[dict[str, Any], Job | None]:
    """Return the settings of a run, or those of a recipe and its job."""
    if isinstance(subject, Path):
        return settings_of(read_header(subject)), None
    try:
        jobs = provider().plan(subject.target, subject.settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if len(jobs) != 1:
        raise UsageError(f"--map: expected a recipe of one run, and {subject.target} has {len(jobs)}")
    return flatten(jobs[0].settings), jobs[0]


def _settings(
    recorded: Mapping[str, Any], axes: Sequence[Axis], steps: int, seed: int
) -> dict[Cell, dict[str, Any] | None]:
    """Return the settings of each cell as a replay takes them; None where they are not compatible with each other.

    Raises:
        UsageError: for an axis of which a value is compatible with no other, or makes no difference to a replay.
    """
    base = canonical(recorded, steps, seed)
    values = {axis.name: {text: _value(axis.name, text, base) for text in axis.values} for axis in axes}
    found: dict[Cell, dict[str, Any] | None] = {}
    problems: dict[Cell, str] = {}
    for cell in cells_of(axes):
        changed = {axis.name: values[axis.name][text] for axis, text in zip(axes, cell, strict=True)}
        try:
            found[cell] = canonical({**recorded, **changed}, steps, seed)
        except UsageError as error:
            found[cell], problems[cell] = None, str(error)
    for place, axis in enumerate(axes):
        for text in axis.values:
            cells = [cell for cell in found if cell[place] == text]
            if all(cell in problems for cell in cells):
                raise UsageError(f"--map {axis.name}={text}: {problems[cells[0]]}")
    _check_differences(axes, found)
    return found


def _value(name: str, text: str, base: Mapping[str, Any]) -> Any:
    if name == "seed":
        raise UsageError("--map seed: each cell is replayed with several seeds; --seeds says how many")
    if name not in base:
        close = get_close_matches(name, base, n=1)
        raise UsageError(f"--map {name}: no such setting{f'; did you mean {close[0]!r}?' if close else ''}")
    return parse_yaml(text, f"--map {name}")[0]


def _check_differences(axes: Sequence[Axis], found: Mapping[Cell, dict[str, Any] | None]) -> None:
    cells: dict[str, Cell] = {}
    for cell, settings in found.items():
        if settings is None:
            continue
        other = cells.setdefault(RecipeTrial("", settings, 0, 0).key, cell)
        for axis, one, two in zip(axes, other, cell, strict=True):
            if one != two:
                raise UsageError(f"--map {axis.name}: {one} and {two} are the same training in a replay")


def _trials(label: str, settings: dict[str, Any] | None, seeds: Sequence[int], steps: int) -> list[RecipeTrial]:
    return [] if settings is None else [RecipeTrial(label, settings, seed, steps, CELL, WINDOWS) for seed in seeds]


def _prepared(job: Job) -> int:
    try:
        return job.prepare()
    except ValueError as error:
        raise UsageError(str(error)) from error


def _prepare_features(trials: Sequence[RecipeTrial]) -> None:
    """Compute the features of all cells: once, and not in each process."""
    wanted = {
        json.dumps(
            {name: value for name, value in trial.settings.items() if name.startswith(_DATA)}, default=str
        ): trial
        for trial in trials
    }
    for trial in wanted.values():
        _prepared(provider().replay(nested(trial.settings), steps=trial.steps, seed=trial.seed))
