"""An explanation in words, and the report made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from edgeglass_diag.explanation.engine import Explanation
from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.replay import Trial
from edgeglass_diag.explanation.report import ChangeSet, ExplainReport, Replay, Suspect
from edgeglass_diag.explanation.search import Changed, Count, Found


def verdict(found: Explanation, steps: int) -> str:
    """Return what the replays say, in a few sentences with their counts."""
    sentences = [_ends(found, steps)]
    if found.parted and found.cures is not None:
        sentences.append(_cured(found.cures, found.best))
    if found.makes_ill is not None:
        sentences.append(_made_ill(found.makes_ill))
    if not found.parted and found.cures is not None and found.cures.singles:
        tried = ", ".join(f"{name} {_count(count)}" for name, count in found.cures.singles.items())
        sentences.append(f"Replays that end more than 5% below chance: {tried}.")
    flaky = [each for half in (found.cures, found.makes_ill) if half is not None for each in half.flaky]
    if flaky:
        names = ", ".join(dict.fromkeys(_names(each) for each in flaky))
        sentences.append(f"Seeds disagree about {names}: more seeds (--seeds) would tell.")
    if not found.finished:
        sentences.append("The budget ended before all was tried.")
    return " ".join(sentences)


def _ends(found: Explanation, steps: int) -> str:
    other = f"with {found.best}" if found.best is not None else "the healthy settings"
    if not found.healthy:
        return f"No change could be tried; unchanged, {steps} steps end at {_loss(found.ill)}."
    facts = f"{_loss(found.ill)} against {_loss(found.healthy)}"
    if found.parted:
        return f"In {steps} steps the ill settings end at {facts} for {other}."
    if all(o.loss >= -0.05 for o in (*found.ill, *found.healthy)):
        return f"Both are ill: {steps} steps end at {facts} for {other}, so what differs is not the cause."
    return f"{steps} steps do not part the two: {facts} for {other}. Longer replays (--steps) may."


def _loss(outcomes: Sequence[Outcome]) -> str:
    losses = [outcome.loss for outcome in outcomes]
    if not all(map(math.isfinite, losses)):
        broken = sum(not math.isfinite(loss) for loss in losses)
        return f"a loss that is not finite ({broken}/{len(losses)})"
    mean = fmean(losses)
    if abs(mean) < 0.0005:
        return "chance"
    return f"{abs(mean):.1%} {'below' if mean < 0 else 'above'} chance"


def _cured(cures: Found, best: str | None) -> str:
    if not cures.sets:
        return "No set of changes was found that cures." if best is None else "No single change cures."
    words = " or ".join(_with_count(each, cures) for each in cures.sets)
    alone = "any one of these alone" if len(cures.sets) > 1 else "alone" if len(cures.sets[0]) == 1 else "only together"
    return f"Cured by {words}, {alone}."


def _made_ill(makes_ill: Found) -> str:
    if not makes_ill.sets:
        return "Nothing taken from the ill settings makes the healthy ones ill."
    words = " or ".join(
        f"{_names(each)} ({makes_ill.counts[each]})" for each in makes_ill.sets if each in makes_ill.counts
    )
    together = " and only together" if len(makes_ill.sets) == 1 and len(makes_ill.sets[0]) > 1 else ""
    return f"Made ill by {words}{together}."


def _with_count(changed: Changed, half: Found) -> str:
    return f"{_names(changed)} ({_count(half.counts.get(changed))})"


def _names(changed: Changed) -> str:
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
    cures, makes_ill = found.cures, found.makes_ill
    sets = [] if cures is None or not found.parted else cures.sets
    guilty = {name: each for each in [*(makes_ill.sets if makes_ill else []), *sets] for name in each}
    singles = cures.singles if cures else {}

    def suspect(name: str, together: Iterable[str] = ()) -> Suspect:
        spoiled = makes_ill.singles.get(name) if makes_ill else None
        failing, healthy = values.get(name, (None, None))
        return Suspect(name, failing, healthy, _plain(singles.get(name)), _plain(spoiled), tuple(sorted(together)))

    return ExplainReport(
        verdict=verdict(found, steps),
        causes=tuple(suspect(name, guilty[name]) for name in guilty),
        not_causes=tuple(suspect(name) for name in singles if name not in guilty),
        cures=_sets(cures if found.parted else None),
        makes_ill=_sets(makes_ill),
        border=found.border.loss,
        steps=steps,
        trials=tuple(_trial(trial, outcome, found) for trial, outcome in trials),
        finished=found.finished,
        seconds=round(seconds, 1),
    )


def _plain(count: Count | None) -> str | None:
    return None if count is None else str(count)


def _sets(half: Found | None) -> tuple[ChangeSet, ...]:
    if half is None:
        return ()
    return tuple(ChangeSet(tuple(sorted(s)), _plain(half.counts.get(s))) for s in half.sets)


def _trial(trial: Trial, outcome: Outcome, found: Explanation) -> Replay:
    return Replay(
        label=trial.label,
        seed=trial.seed,
        loss=outcome.loss if math.isfinite(outcome.loss) else None,
        accuracy=outcome.accuracy if math.isfinite(outcome.accuracy) else None,
        failing=found.border.is_ill(outcome),
        steps=outcome.steps,
        findings=tuple(outcome.codes),
        out=outcome.folder,
    )
