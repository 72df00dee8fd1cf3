"""Explain a recorded run of a recipe by replays against another run, a recipe, or single changes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeglass_diag.explained.record import EXPLANATION
from edgeglass_diag.explanation.command import command, numbers
from edgeglass_diag.explanation.engine import OutOfBudgetError, explain_alone
from edgeglass_diag.explanation.keeping import keep
from edgeglass_diag.explanation.pool import Pool, Progress
from edgeglass_diag.explanation.recipe_trials import (
    IncompatibleSettingsError,
    RecipeTrial,
    check_compatible,
    explain_settings,
    is_replay,
    settings_of,
    settings_trials,
)
from edgeglass_diag.explanation.render import report
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.folders import check_folder, read_header
from edgeglass_diag.programs.targets import Recipe, RunFolder, resolve, wrong_kind
from edgeglass_diag.provider_protocols import provider
from edgeglass_diag.records import UsageError
from edgeglass_diag.settings import differing, flatten, nested
from edgeglass_diag.user_input.files import is_folder
from edgeglass_diag.workers import default_workers

STEPS = 60
"""Longest replay that is chosen, in optimizer steps."""


@dataclass(frozen=True)
class Question:
    """What is to be explained, and how.

    Attributes:
        run: folder of the failing run.
        against: folder of a run, recipe name or YAML file; changes that are often the cure are tried if None.
        overrides: ``section.key=value`` on the recipe ``against``.
        out: folder of the replays.
        seeds: how many seeds.
        steps: length of a replay; if None the run's own, at most 60.
        budget: seconds after which no replay begins.
        workers: processes.
    """

    run: Path
    against: str | None
    overrides: Sequence[str]
    out: Path
    seeds: int = 3
    steps: int | None = None
    budget: float | None = None
    workers: int | None = None


def explain_run(question: Question, progress: Progress | None = None) -> ExplainReport:
    """Replay, and return what was found, which is also written to ``OUT/explain.json``.

    Replays that an explanation left in ``OUT`` when it was cut off are read instead of made again.

    Raises:
        UsageError: if a run has no recipe settings, the settings are equal, ``out`` is in use, or the budget is too
            small.
    """
    begun = time.monotonic()
    if question.overrides and question.against is None:
        raise UsageError(f"--set {question.overrides[0]}: is for the recipe --against, and there is none")
    recorded = settings_of(read_header(question.run))
    steps = question.steps or min(STEPS, int(recorded.get("total_steps") or STEPS))
    first = int(recorded.get("seed") or 0)
    failing = canonical(recorded, steps, first)
    healthy = None if question.against is None else canonical(_against(question), steps, first)
    values: dict[str, Sequence[Any]] = {} if healthy is None else {**differing([failing, healthy], ignore=("seed",))}
    if healthy is not None and not values:
        raise UsageError(f"{question.run} and {question.against} have the same settings: there is nothing to explain")
    check_replays(question.out)
    deadline = None if question.budget is None else begun + question.budget
    workers = question.workers or default_workers()
    seeds = range(first, first + question.seeds)
    provider().replay(nested(failing), steps=steps, seed=first).prepare()  # features once, not in each process
    with Pool(question.out, workers=workers, deadline=deadline, progress=progress) as pool:
        try:
            if healthy is None:
                changes = provider().changes(nested(failing))
                values = {name: _change(failing, change) for name, change in changes.items()}
                trials = settings_trials(failing, changes, "failing", seeds=seeds, steps=steps, compatible=_compatible)
                found = explain_alone(list(changes), curing=trials, runner=pool)
            else:
                found = explain_settings(
                    failing, healthy, list(values), seeds=seeds, steps=steps, runner=pool, compatible=_compatible
                )
        except OutOfBudgetError:
            raise UsageError(f"--budget {question.budget:g}: did not suffice for a single replay of each") from None
        replays = sorted(pool.done.values(), key=lambda done: (done[0].label, done[0].seed))
        seconds = time.monotonic() - begun
        result = report(found, replays, values, steps=steps, seconds=seconds)
        result = replace(result, again=_again(question))
    keep(result, question.out, question.run)
    return result


def _again(question: Question) -> tuple[str, ...]:
    asked = numbers(seeds=question.seeds, steps=question.steps, budget=question.budget, workers=question.workers)
    return command(question.run, {"--against": question.against, "--set": list(question.overrides), **asked})


def check_replays(out: Path) -> None:
    """Check that ``out`` can be used: new, empty, or the replays of an explanation that was cut off."""
    children = list(out.iterdir()) if is_folder(out) else []
    if not all(child.name == EXPLANATION or is_replay(child) for child in children):
        check_folder(out)


def _against(question: Question) -> dict[str, Any]:
    target = resolve([str(question.against)], settings=question.overrides)
    if isinstance(target, RunFolder):
        return settings_of(read_header(target.folder))
    if not isinstance(target, Recipe):
        raise wrong_kind("explain --against", "a run, a recipe or a YAML file", target)
    if is_folder(Path(target.target)):
        return settings_of(read_header(Path(target.target)))  # raises: a folder that is no run
    try:
        jobs = provider().plan(target.target, target.settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if len(jobs) != 1:
        raise UsageError(f"--against {target.target}: expected one run or recipe, got {len(jobs)}")
    return flatten({**jobs[0].settings, "total_steps": jobs[0].prepare()})


def canonical(settings: Mapping[str, Any], steps: int, seed: int) -> dict[str, Any]:
    """Return the settings as a replay takes them: defaults filled in, lengths equal."""
    try:
        whole = flatten(provider().replay(nested(settings), steps=steps, seed=seed).settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return whole | {"name": "replay", "description": ""}  # the name does not make a trial different


def _compatible(trial: RecipeTrial) -> bool:
    try:
        check_compatible(trial)
    except IncompatibleSettingsError:
        return False
    return True


def _change(failing: Mapping[str, Any], change: Mapping[str, Any]) -> tuple[Any, Any]:
    if len(change) == 1:
        (name,) = change
        return failing.get(name), change[name]
    return {name: failing.get(name) for name in change}, dict(change)
