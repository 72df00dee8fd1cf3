"""Replays of recorded runs: short trainings with changed settings, each recorded as a run of its own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgeglass_diag.explanation.engine import Explanation, Runner, TrialsOf, explain_difference
from edgeglass_diag.explanation.outcome import Outcome, measure
from edgeglass_diag.folders import is_run, read_header
from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.replaying.search import Subset
from edgeglass_diag.settings import differing, flatten, nested
from edgeglass_diag.store import load

STOP_CODES = ("EG801", "EG301")
"""Findings that end a replay: a value that is not finite, or a constant side. The model does not recover from them."""

_FOLDER = re.compile(r".+-seed\d+-[0-9a-f]{6}")
RECORDED_WINDOWS = 40
"""Recorded windows of a replay, in addition to its first ones."""


@dataclass(frozen=True)
class RecipeTrial:
    """A replay of a recipe, or of a function of the user, to run.

    Attributes:
        label: names of the changes, part of the folder's name.
        settings: all settings, ``section.key`` -> value.
        seed: seed of weights and batches.
        steps: optimizer steps.
        kind: ``setting``, ``cell`` of a map, or ``control`` where nothing is changed.
        windows: recorded windows, in addition to the first ones.
    """

    label: str
    settings: Mapping[str, Any]
    seed: int
    steps: int
    kind: str = "setting"
    windows: int = RECORDED_WINDOWS

    @property
    def key(self) -> str:
        """Hash of settings, seed, steps and windows; the label does not count."""
        content = json.dumps([dict(self.settings), self.seed, self.steps, self.windows], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def folder(self) -> str:
        """Name of the run folder."""
        words = "".join(c if c.isalnum() or c in "=.+-" else "-" for c in self.label)[:80]
        return f"{words}-seed{self.seed}-{self.key[:6]}"


Changes = Mapping[str, Mapping[str, Any]]
"""Name of a change -> its settings, ``section.key`` -> value."""


def settings_trials(
    base: Mapping[str, Any],
    changes: Changes,
    label: str,
    *,
    seeds: Sequence[int],
    steps: int,
    compatible: Callable[[RecipeTrial], bool],
) -> TrialsOf[RecipeTrial]:
    """Return what makes the trials of settings with sets of changes.

    Args:
        base: the unchanged settings, ``section.key`` -> value.
        changes: settings of each change, by its name.
        label: begins the labels of the trials.
        seeds: seeds of each set of changes.
        steps: optimizer steps of a replay.
        compatible: whether the settings of a trial are compatible.
    """

    def trials(changed: Subset) -> list[RecipeTrial]:
        settings = dict(base)
        for name in sorted(changed):
            settings |= changes[name]
        words = " ".join([label, "with", *sorted(changed)]) if changed else label
        kind = "setting" if changed else "control"
        made = [RecipeTrial(words, settings, seed, steps, kind) for seed in seeds]
        return made if compatible(made[0]) else []

    return trials


def explain_settings(
    failing: Mapping[str, Any],
    healthy: Mapping[str, Any],
    names: Sequence[str] | None = None,
    *,
    seeds: Sequence[int],
    steps: int,
    runner: Runner[RecipeTrial],
    compatible: Callable[[RecipeTrial], bool] = lambda trial: True,
) -> Explanation:
    """Return which of the differing settings cure the failing run and which break the healthy one.

    Args:
        failing: settings of the failing run, ``section.key`` -> value.
        healthy: settings of the healthy run.
        names: names of the differing settings; all that differ if None.
        seeds: seeds of each set of changes.
        steps: optimizer steps of a replay.
        runner: runs the trials.
        compatible: whether the settings of a trial are compatible.

    Raises:
        OutOfBudgetError: if the budget is spent before both unchanged settings are replayed.
    """
    differ = list(differing([failing, healthy])) if names is None else names
    to_healthy = {name: {name: healthy.get(name)} for name in differ}
    to_failing = {name: {name: failing.get(name)} for name in differ}
    trials = partial(settings_trials, seeds=seeds, steps=steps, compatible=compatible)
    curing = trials(failing, to_healthy, "failing")
    return explain_difference(differ, curing=curing, breaking=trials(healthy, to_failing, "healthy"), runner=runner)


class IncompatibleSettingsError(Exception):
    """Raised for settings that are incompatible with each other and cannot be replayed."""


def check_compatible(trial: RecipeTrial) -> None:
    """Check that the settings of a trial are compatible with each other.

    Raises:
        IncompatibleSettingsError: if they are not.
    """
    from edgeglass_diag.provider_protocols import provider

    try:
        provider().replay(nested(trial.settings), steps=trial.steps, seed=trial.seed)
    except ValueError as error:
        raise IncompatibleSettingsError(str(error)) from error


def replay(trial: RecipeTrial, out: Path) -> Outcome:
    """Train and record a trial below ``out`` and return its outcome; a finished one in ``out`` is read instead.

    Raises:
        UsageError: if weights or data are missing.
    """
    from edgeglass_diag.provider_protocols import provider
    from edgeglass_diag.watching import StopTraining, Watch

    if (known := _known(trial, out)) is not None:
        return known
    folder = out / trial.folder
    shutil.rmtree(folder, ignore_errors=True)  # interrupted
    try:
        job = provider().replay(nested(trial.settings), steps=trial.steps, seed=trial.seed)
        job.prepare()
    except ValueError as error:
        raise UsageError(str(error)) from error
    whole = {**job.settings, "total_steps": trial.steps}
    header = {"settings": whole, "replay": trial.label, "replay_key": trial.key}
    every = max(1, trial.steps // trial.windows)
    try:
        with Watch(folder, name=trial.folder, every=every, header=header, stop_on=STOP_CODES) as watch:
            watch.result |= job.train(folder, watch.log)
    except StopTraining:
        pass
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # not needed after the outcome is known
    with load(folder) as run:
        return measure(run)


def _known(trial: RecipeTrial, out: Path) -> Outcome | None:
    """Return the outcome of a replay of the same key that ended in ``out``, whatever its label."""
    for folder in sorted(out.glob(f"*-seed{trial.seed}-{trial.key[:6]}")):
        if is_run(folder) and read_header(folder).get("replay_key") == trial.key:
            with load(folder) as done:
                if done.status in (RunStatus.FINISHED, RunStatus.STOPPED):
                    return measure(done)
    return None


def is_replay(folder: Path) -> bool:
    """Return whether a folder is a replay, also one interrupted before its header was written."""
    if is_run(folder):
        return "replay" in read_header(folder)
    return folder.is_dir() and _FOLDER.fullmatch(folder.name) is not None


def is_of_recipe(header: Mapping[str, Any]) -> bool:
    """Return whether a run is that of a recipe, by its ``run.json``."""
    settings = header.get("settings")
    return isinstance(settings, Mapping) and "model" in settings


def settings_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recorded recipe run as ``section.key`` -> value.

    Raises:
        UsageError: if the run has none, such as that of a script.
    """
    if not is_of_recipe(header):
        raise UsageError(
            f"no recipe settings to replay in run {header.get('name')!r}; for a training of your own use "
            "edgeglass_diag.explain(build, failing=..., healthy=...)"
        )
    return flatten(header["settings"])
