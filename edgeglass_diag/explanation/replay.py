"""Replays of recorded runs: short trainings from other settings, each recorded as a run of its own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.explanation.outcome import Outcome, measure
from edgeglass_diag.folders import is_run, read_header
from edgeglass_diag.records import UsageError
from edgeglass_diag.settings import flatten, nested
from edgeglass_diag.store import load

DECIDED = ("EG801", "EG301")
"""Findings that end a replay: not finite, or one side constant. Nothing that is learned comes after them."""

_FOLDER = re.compile(r".+-seed\d+-[0-9a-f]{6}")
READINGS = 40
"""Windows of a replay that are recorded after its first ones."""


@dataclass(frozen=True)
class Trial:
    """A replay to make.

    Attributes:
        label: what is changed, in words that make a folder's name.
        settings: all settings, ``section.key -> value``.
        seed: of weights and batches.
        steps: optimizer steps.
    """

    label: str
    settings: Mapping[str, Any]
    seed: int
    steps: int

    @property
    def key(self) -> str:
        """Return a key that is equal for trials with equal settings, seed and length."""
        content = json.dumps([dict(self.settings), self.seed, self.steps], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def folder(self) -> str:
        """Name of the run folder."""
        words = "".join(c if c.isalnum() or c in "=.+-" else "-" for c in self.label)[:80]
        return f"{words}-seed{self.seed}-{self.key[:6]}"


class ImpossibleError(Exception):
    """Settings that do not fit together: nothing can be said about them."""


def check(trial: Trial) -> None:
    """Make sure that the settings of a trial fit together.

    Raises:
        ImpossibleError: where they do not.
    """
    from edgeglass_diag.provider_protocols import provider

    try:
        provider().replay(nested(trial.settings), steps=trial.steps, seed=trial.seed)
    except ValueError as error:
        raise ImpossibleError(str(error)) from error


def replay(trial: Trial, out: Path) -> Outcome:
    """Train and record a trial below ``out``; one that lies there whole from an earlier call is read instead.

    Raises:
        UsageError: for what the trial lacks (weights, data).
    """
    from edgeglass_diag.provider_protocols import provider
    from edgeglass_diag.watching import StopTraining, Watch

    folder = out / trial.folder
    if is_run(folder):
        with load(folder) as done:
            if done.status in ("finished", "stopped"):
                return measure(done)
    shutil.rmtree(folder, ignore_errors=True)  # begun and never ended
    try:
        job = provider().replay(nested(trial.settings), steps=trial.steps, seed=trial.seed)
        job.prepare()
    except ValueError as error:
        raise UsageError(str(error)) from error
    header = {"settings": {**job.settings, "total_steps": trial.steps}, "replay": trial.label}
    every = max(1, trial.steps // READINGS)
    try:
        with Watch(folder, name=trial.folder, every=every, header=header, stop_on=DECIDED) as watch:
            watch.result |= job.train(folder, watch.log)
    except StopTraining:
        pass
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a run that only answers one question
    with load(folder) as run:
        return measure(run)


def is_replay(folder: Path) -> bool:
    """Return whether a folder is a replay, whole or cut off before it had a header."""
    if is_run(folder):
        return "replay" in read_header(folder)
    return folder.is_dir() and _FOLDER.fullmatch(folder.name) is not None


def settings_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recorded recipe run, flat.

    Raises:
        UsageError: where the run has none, as that of a script.
    """
    settings = header.get("settings")
    if not isinstance(settings, Mapping) or "model" not in settings:
        raise UsageError(
            f"run {header.get('name')!r} has no recipe settings to replay; for code of your own use "
            "eg.explain(build, failing=..., healthy=...)"
        )
    return flatten(settings)
