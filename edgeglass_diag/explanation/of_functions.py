"""Explain settings of a Python function that builds model, optimizer and step."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from edgeglass_diag.explanation.engine import OutOfBudgetError
from edgeglass_diag.explanation.outcome import Outcome, measure
from edgeglass_diag.explanation.recipe_trials import RECORDED_WINDOWS, STOP_CODES, RecipeTrial, explain_settings
from edgeglass_diag.explanation.render import report
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.records import UsageError
from edgeglass_diag.settings import differing
from edgeglass_diag.store import load
from edgeglass_diag.watching import StopTraining, Watch

Build = Callable[[Mapping[str, Any]], tuple[nn.Module, Optimizer, Callable[[], object]]]


def explain_build(
    build: Build,
    *,
    failing: Mapping[str, Any],
    healthy: Mapping[str, Any],
    out: str | Path,
    steps: int = 100,
    seeds: Sequence[int] = (0, 1, 2),
    budget: float | None = None,
) -> ExplainReport:
    """Return which of the settings in which ``failing`` and ``healthy`` differ make the difference.

    Every replay is recorded as a run below ``out``.

    Args:
        build: from settings to (model, optimizer, step); a call of ``step`` takes one optimizer step on the next
            batch. It raises ValueError for settings that do not fit together. The seeds of torch and ``random`` are
            set before each call.
        failing: settings with which the model does not learn, by name.
        healthy: settings of one that does.
        out: new or empty folder.
        steps: length of a replay in optimizer steps.
        seeds: of the replays of each change.
        budget: seconds after which no replay begins.

    Raises:
        UsageError: if nothing differs, ``out`` is in use, or the budget does not suffice for the two ends.
    """
    begun = time.monotonic()
    values = differing([failing, healthy])
    if not values:
        raise UsageError("failing and healthy: expected settings that differ, got equal ones")
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"out: expected a new or empty folder, got {folder}")
    runner = InProcessRunner(build, folder, None if budget is None else begun + budget)
    try:
        found = explain_settings(failing, healthy, seeds=seeds, steps=steps, runner=runner)
    except OutOfBudgetError:
        raise UsageError("no replay of failing or healthy: budget too small, or build raises ValueError") from None
    return report(found, list(runner.done.values()), values, steps=steps, seconds=time.monotonic() - begun)


class InProcessRunner:
    """Runs trials one after the other in this process.

    Args:
        build: as of ``explain_build``.
        out: folder of the replays.
        deadline: time (monotonic, in seconds) after which no replay begins.

    Attributes:
        done: trials and outcomes by key.
    """

    def __init__(self, build: Build, out: Path, deadline: float | None) -> None:
        self._build, self._out, self._deadline = build, out, deadline
        self.done: dict[str, tuple[RecipeTrial, Outcome]] = {}

    @property
    def is_budget_spent(self) -> bool:
        """Whether the budget is spent."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def run(self, trials: Iterable[RecipeTrial]) -> dict[str, Outcome]:
        """Return outcomes by key of the trials with compatible settings that finished within the budget."""
        wanted = {trial.key: trial for trial in trials}
        for key, trial in wanted.items():
            if key in self.done or self.is_budget_spent:
                continue
            outcome = self._replay(trial)
            if outcome is not None:
                self.done[key] = trial, outcome
        return {key: self.done[key][1] for key in wanted if key in self.done}

    def _replay(self, trial: RecipeTrial) -> Outcome | None:
        torch.manual_seed(trial.seed)
        random.seed(trial.seed)
        folder = self._out / trial.folder
        header = {"settings": dict(trial.settings), "replay": trial.label}
        every = max(1, trial.steps // RECORDED_WINDOWS)
        try:
            with Watch(folder, name=trial.folder, every=every, header=header, stop_on=STOP_CODES):
                _, _, step = self._build(trial.settings)
                for _ in range(trial.steps):
                    step()
        except StopTraining:
            pass
        except ValueError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        with load(folder) as run:
            return measure(run)
