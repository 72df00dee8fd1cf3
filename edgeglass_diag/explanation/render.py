"""An explanation in words, and the report made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from edgeglass_diag.explanation.engine import Explanation, Trial
from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome
from edgeglass_diag.explanation.report import ChangeSet, ExplainReport, Replay, Suspect
from edgeglass_diag.replaying.search import Count, SearchResult, Subset


def verdict(found: Explanation, steps: int) -> str:
    """Return the result of the replays in a few sentences with counts."""
    sentences = [_ends(found, steps)]
    if found.separated:
        sentences.append(_cured(found.cures, found.best))
    if found.breaks is not None:
        sentences.append(_broken(found.breaks))
    if not found.separated and found.cures.singles:
        tried = ", ".join(f"{name} {_count(count)}" for name, count in found.cures.singles.items())
        sentences.append(f"Replays that end more than {MIN_LOSS_GAP:.0%} below chance: {tried}.")
    flaky = [each for result in (found.cures, found.breaks) if result is not None for each in result.flaky]
    if flaky:
        names = ", ".join(dict.fromkeys(names_words(each) for each in flaky))
        sentences.append(f"Seeds disagree about {names}: repeat with more seeds (--seeds).")
    if not found.finished:
        sentences.append("The budget was spent before everything was tried.")
    return " ".join(sentences)


def _ends(found: Explanation, steps: int) -> str:
    other = f"with {found.best}" if found.best is not None else "the healthy settings"
    if not found.healthy:
        return f"No change could be tried; unchanged, {steps} steps end at {loss_words(found.failing)}."
    facts = f"{loss_words(found.failing)} against {loss_words(found.healthy)}"
    if found.separated:
        return f"In {steps} steps the failing settings end at {facts} for {other}."
    if all(o.loss >= -MIN_LOSS_GAP for o in (*found.failing, *found.healthy)):
        return f"Both fail: {steps} steps end at {facts} for {other}, so what differs is not the cause."
    return f"{steps} steps do not separate the two: {facts} for {other}. Longer replays (--steps) may."


def loss_words(outcomes: Sequence[Outcome]) -> str:
    """Return where the loss of replays ends, relative to chance: ``83.0% below chance``."""
    losses = [outcome.loss for outcome in outcomes]
    if not all(map(math.isfinite, losses)):
        broken = sum(not math.isfinite(loss) for loss in losses)
        return f"a loss that is not finite ({broken}/{len(losses)})"
    mean = fmean(losses)
    if abs(mean) < 0.0005:
        return "chance"
    return f"{abs(mean):.1%} {'below' if mean < 0 else 'above'} chance"


def _cured(cures: SearchResult, best: str | None) -> str:
    if not cures.sets:
        return "No set of changes was found that cures." if best is None else "No single change cures."
    words = " or ".join(_with_count(each, cures) for each in cures.sets)
    alone = "any one of these alone" if len(cures.sets) > 1 else "alone" if len(cures.sets[0]) == 1 else "only together"
    return f"Cured by {words}, {alone}."


def _broken(breaks: SearchResult) -> str:
    if not breaks.sets:
        return "No change to the failing settings breaks the healthy ones."
    words = " or ".join(f"{names_words(each)} ({breaks.counts[each]})" for each in breaks.sets if each in breaks.counts)
    together = " and only together" if len(breaks.sets) == 1 and len(breaks.sets[0]) > 1 else ""
    return f"Broken by {words}{together}."


def _with_count(changed: Subset, result: SearchResult) -> str:
    return f"{names_words(changed)} ({_count(result.counts.get(changed))})"


def names_words(changed: Subset) -> str:
    """Return the names of changes that are made together."""
    return " and ".join(sorted(changed)) or "no change"


def _count(count: Count | None) -> str:
    return "not possible" if count is None else str(count)


def report(
    found: Explanation,
    trials: Sequence[tuple[Trial, Outcome]],
    values: Mapping[str, Sequence[Any]],
    *,
    steps: int,
    seconds: float,
) -> ExplainReport:
    """Return the explanation as a report.

    Args:
        found: the explanation.
        trials: every replay.
        values: failing and healthy value of each setting.
        steps: length of a replay.
        seconds: duration of all replays.
    """
    cures, breaks = found.cures, found.breaks
    sets = cures.sets if found.separated else []
    causes = {name: each for each in [*(breaks.sets if breaks else []), *sets] for name in each}
    singles = cures.singles

    def suspect(name: str, together: Iterable[str] = ()) -> Suspect:
        broken = breaks.singles.get(name) if breaks else None
        failing, healthy = values.get(name, (None, None))
        return Suspect(name, failing, healthy, _plain(singles.get(name)), _plain(broken), tuple(sorted(together)))

    return ExplainReport(
        verdict=verdict(found, steps),
        causes=tuple(suspect(name, causes[name]) for name in causes),
        not_causes=tuple(suspect(name) for name in singles if name not in causes),
        cures=_sets(cures if found.separated else None),
        breaks=_sets(breaks),
        threshold=found.threshold.loss,
        steps=steps,
        trials=tuple(_trial(trial, outcome, found) for trial, outcome in trials),
        finished=found.finished,
        seconds=round(seconds, 1),
    )


def _plain(count: Count | None) -> str | None:
    return None if count is None else str(count)


def _sets(result: SearchResult | None) -> tuple[ChangeSet, ...]:
    if result is None:
        return ()
    return tuple(ChangeSet(tuple(sorted(s)), _plain(result.counts.get(s))) for s in result.sets)


def _trial(trial: Trial, outcome: Outcome, found: Explanation) -> Replay:
    return Replay(
        label=trial.label,
        kind=trial.kind,
        seed=trial.seed,
        loss=outcome.loss if math.isfinite(outcome.loss) else None,
        accuracy=outcome.accuracy if math.isfinite(outcome.accuracy) else None,
        failing=found.is_ill(outcome),
        steps=outcome.steps,
        findings=tuple(outcome.codes),
        out=outcome.folder,
    )
