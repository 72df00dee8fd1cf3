"""The losses of an explanation's replays by step, from the runs that the replays are kept as."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from edgeglass_diag.explained.record import KeptExplanation, KeptTrial, trial_folder
from edgeglass_diag.figures.trials import Curve, Multiple
from edgeglass_diag.records import UsageError
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run, load

Open = Callable[[Path], AbstractContextManager[Run]]
"""Opens a run folder for reading; raises UsageError where it cannot."""


def multiples(explanation: KeptExplanation, folder: Path, opening: Open = load) -> tuple[list[Multiple], bool]:
    """Return the curves of each change that has any, the unchanged replays first, and whether they are over chance.

    Args:
        explanation: what the folder keeps.
        folder: of the explanation.
        opening: opens a replay's run.
    """
    found = {label: _read(trials, folder, opening) for label, trials in explanation.groups().items()}
    read = [one for curves in found.values() for one in curves]
    relative = bool(read) and all(chance is not None for _, _, chance in read)
    control = explanation.control
    labels = sorted(found, key=lambda label: label != control)
    drawn = {label: tuple(_curve(*one, relative=relative) for one in found[label]) for label in labels}
    behind = drawn.get(control or "", ())
    return [
        Multiple(label, curves, () if label == control else behind) for label, curves in drawn.items() if curves
    ], relative


_Read = tuple[KeptTrial, dict[int, float], float | None]


def _read(trials: Sequence[KeptTrial], folder: Path, opening: Open) -> list[_Read]:
    """Return the replays whose losses can be read: loss by step, and its level of chance where that is known."""
    found = []
    for trial in trials:
        place = trial_folder(folder, trial.out)
        if place is None:
            continue
        try:
            with opening(place) as run:
                losses = {each.step: each.values[0] for _, each in run.readings(LOSS_TOTAL, site="")}
                chances = [each.values[0] for _, each in run.readings(LOSS_CHANCE, site="")]
        except UsageError:
            continue
        chance = chances[-1] if chances and chances[-1] > 0 and math.isfinite(chances[-1]) else None
        if losses:
            found.append((trial, losses, chance))
    return found


def _curve(trial: KeptTrial, losses: dict[int, float], chance: float | None, *, relative: bool) -> Curve:
    level = chance if relative and chance is not None else 1.0
    return Curve(trial.seed, not trial.ill, tuple(losses), tuple(value / level for value in losses.values()))
