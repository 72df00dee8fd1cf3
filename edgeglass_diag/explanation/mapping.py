"""Map how a training goes over a grid of settings, by replays of each combination."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from edgeglass_diag.explained.phase_map import CellOutcome, KeptMap, MapAxis, MapCell, MapEffect, MapLine
from edgeglass_diag.explanation.axes import Axis, Cell, cells_of, label_of
from edgeglass_diag.explanation.engine import Runner, T
from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome, OutcomeThreshold
from edgeglass_diag.replaying.search import Count

CELL = "cell"
"""The kind of a replay in a map."""

WINDOWS = 10
"""Recorded windows of a replay, in addition to its first ones: fewer than of other replays, as cells are many."""

_COLLAPSE = "EG301"
_THRESHOLD = OutcomeThreshold(-MIN_LOSS_GAP)


class MapRunner(Runner[T], Protocol[T]):
    """A runner that goes on where a trial fails."""

    def failures(self, trials: Iterable[T]) -> Sequence[object]:
        """Return what is known of the trials that were run and have no outcome."""


@dataclass(frozen=True)
class CellResult:
    """The replays of a cell: outcomes of those that tell, how many do not; ``possible`` whether there are any."""

    outcomes: Sequence[Outcome] = ()
    crashed: int = 0
    possible: bool = True


def is_ill(outcome: Outcome) -> bool:
    """Return whether a replay does not learn: as of a training that there is no healthy one to compare with."""
    return _THRESHOLD.is_failing(outcome) or not outcome.learns()


def run_cells(trials: Mapping[Cell, Sequence[T]], runner: MapRunner[T]) -> dict[Cell, CellResult]:
    """Replay all cells, each with its first seed before any with its second; return what became of them.

    Args:
        trials: of each cell, one for each seed; none where its settings are not compatible with each other.
        runner: runs them.
    """
    seeds = max(map(len, trials.values()), default=0)
    found = runner.run([of[seed] for seed in range(seeds) for of in trials.values() if of])
    return {
        cell: CellResult(
            [found[trial.key] for trial in of if trial.key in found], len(runner.failures(of)), possible=bool(of)
        )
        for cell, of in trials.items()
    }


def phase_map(axes: Sequence[Axis], results: Mapping[Cell, CellResult]) -> KeptMap:
    """Return the map of the results of all cells."""
    return KeptMap(
        axes=tuple(MapAxis(setting=axis.name, values=axis.values) for axis in axes),
        cells=tuple(_cell(axes, cell, results[cell]) for cell in cells_of(axes)),
        effects=tuple(_effect(axes, place, results) for place in range(len(axes))),
    )


def _cell(axes: Sequence[Axis], cell: Cell, result: CellResult) -> MapCell:
    accuracies = [outcome.accuracy for outcome in result.outcomes if math.isfinite(outcome.accuracy)]
    learned = _learned(result.outcomes)
    return MapCell(
        values=cell,
        label=label_of(axes, cell),
        outcome=_outcome(result),
        learned=learned.hits,
        of=learned.of,
        losses=tuple(outcome.loss if math.isfinite(outcome.loss) else None for outcome in result.outcomes),
        accuracy=fmean(accuracies) if accuracies else None,
        crashed=result.crashed,
    )


def _learned(outcomes: Sequence[Outcome]) -> Count:
    return Count(sum(not is_ill(outcome) for outcome in outcomes), len(outcomes))


def _outcome(result: CellResult) -> CellOutcome:
    """Return what the replays of a cell show; of those that do not learn, what most of them do."""
    if not result.possible:
        return CellOutcome.IMPOSSIBLE
    if not result.outcomes:
        return CellOutcome.CRASHED if result.crashed else CellOutcome.NOT_RUN
    learned = _learned(result.outcomes)
    if learned.is_flaky:
        return CellOutcome.DISAGREE
    if learned.hits:
        return CellOutcome.LEARNS
    return Counter(map(_failure, result.outcomes)).most_common(1)[0][0]


def _failure(outcome: Outcome) -> CellOutcome:
    if not math.isfinite(outcome.loss):
        return CellOutcome.DIVERGED
    return CellOutcome.COLLAPSED if _COLLAPSE in outcome.codes else CellOutcome.FAILS


def _effect(axes: Sequence[Axis], place: int, results: Mapping[Cell, CellResult]) -> MapEffect:
    """Return on which lines along an axis the outcomes differ by more than seeds make of it."""
    axis = axes[place]
    lines: dict[Cell, dict[str, Sequence[Outcome]]] = {}
    for cell, result in results.items():
        if result.outcomes:
            lines.setdefault((*cell[:place], *cell[place + 1 :]), {})[cell[place]] = result.outcomes
    others = [*axes[:place], *axes[place + 1 :]]
    compared = {rest: of for rest, of in lines.items() if len(of) > 1}
    where = [line for rest, of in compared.items() if (line := _line(label_of(others, rest), of)) is not None]
    return MapEffect(setting=axis.name, lines=len(compared), where=tuple(where))


def _line(others: str, of: Mapping[str, Sequence[Outcome]]) -> MapLine | None:
    """Return how the ends of a line differ; None where they are not separated."""
    losses = {value: fmean(min(outcome.loss, 0.0) for outcome in outcomes) for value, outcomes in of.items()}
    worst, best = max(losses, key=lambda value: losses[value]), min(losses, key=lambda value: losses[value])
    if OutcomeThreshold.between(of[worst], of[best]) is None:
        return None
    ends = {value: fmean(outcome.loss for outcome in of[value]) for value in (worst, best)}
    told = {value: loss if math.isfinite(loss) else None for value, loss in ends.items()}
    decides = _learned(of[best]).holds and not _learned(of[worst]).holds
    return MapLine(others=others, worst=worst, best=best, worst_loss=told[worst], best_loss=told[best], decides=decides)
