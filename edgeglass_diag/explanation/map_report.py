"""The report that is made of a map, and the words for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeglass_diag.explained.phase_map import CellOutcome, KeptMap, MapEffect
from edgeglass_diag.explanation.engine import Trial
from edgeglass_diag.explanation.mapping import is_ill
from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome
from edgeglass_diag.explanation.report import ExplainReport, Replay
from edgeglass_diag.replaying.replayed import Ending


@dataclass(frozen=True)
class MapFacts:
    """What all cells share.

    Attributes:
        seeds: replays of each cell.
        steps: of a replay.
        finished: whether all was tried within the budget.
        seconds: that all took.
        run: folder of the run that is mapped; None for a recipe or a program without one.
        guard: what kept the replays from writing elsewhere.
        left_out: paths that the replays began without.
    """

    seeds: int
    steps: int
    finished: bool
    seconds: float
    run: Path | None = None
    guard: str = ""
    left_out: tuple[str, ...] = ()


def map_report(found: KeptMap, rows: Sequence[Replay], facts: MapFacts) -> ExplainReport:
    """Return the report of a map."""
    return ExplainReport(
        verdict=map_verdict(found, facts),
        causes=(),
        not_causes=(),
        cures=(),
        breaks=(),
        threshold=-MIN_LOSS_GAP,
        steps=facts.steps,
        trials=tuple(rows),
        finished=facts.finished,
        seconds=round(facts.seconds, 1),
        run=None if facts.run is None else str(facts.run),
        guard=facts.guard,
        left_out=facts.left_out,
        phase_map=found,
    )


def map_row(trial: Trial, outcome: Outcome | None, *, out: str = "", ending: str | None = None) -> Replay:
    """Return the row of a replay; without an outcome it is one that crashed."""
    known = outcome if outcome is not None else Outcome(math.inf)
    return Replay(
        label=trial.label,
        kind=trial.kind,
        seed=trial.seed,
        loss=known.loss if math.isfinite(known.loss) else None,
        accuracy=known.accuracy if math.isfinite(known.accuracy) else None,
        failing=is_ill(known),
        steps=known.steps,
        findings=known.codes,
        out=out or known.folder,
        ending=ending or str(Ending.CRASHED if outcome is None else Ending.FINISHED),
    )


def map_verdict(found: KeptMap, facts: MapFacts) -> str:
    """Return what a map shows in a few sentences with counts."""
    counts = ", ".join(f"{count} {words_of(outcome, count)}" for outcome, count in found.counts().items())
    each = f"{facts.seeds} seed{'s' if facts.seeds > 1 else ''} of {facts.steps} steps each"
    sentences = [f"Of {len(found.cells)} cells ({each}): {counts}."]
    sentences += [_said(effect) for effect in found.effects]
    if not facts.finished:
        sentences.append("The budget was spent before everything was tried.")
    return " ".join(sentences)


def words_of(outcome: CellOutcome, count: int) -> str:
    """Return an outcome as what is said of so many cells.

    >>> words_of(CellOutcome.LEARNS, 2), words_of(CellOutcome.LEARNS, 1), words_of(CellOutcome.CRASHED, 2)
    ('learn', 'learns', 'crashed')
    """
    several = {CellOutcome.LEARNS: "learn", CellOutcome.FAILS: "do not learn"}
    if outcome is CellOutcome.DISAGREE:
        return "with seeds that disagree"
    return several.get(outcome, str(outcome)) if count > 1 else str(outcome)


def _said(effect: MapEffect) -> str:
    if not effect.where:
        return f"{effect.setting} makes no difference beyond seeds."
    more = len(effect.where) - effect.decides
    others = f"of {effect.lines} settings of the others"
    if not effect.decides:
        return f"{effect.setting} decides nowhere whether it learns, and changes how far for {more} {others}."
    how_far = f", and changes how far for {more} more" if more else ""
    return f"{effect.setting} decides whether it learns for {effect.decides} {others}{how_far}."
