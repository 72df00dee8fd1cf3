"""What replays of a program show, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from edgeglass_diag.explanation.engine import Explanation
from edgeglass_diag.explanation.of_interventions import Tried, learns_already
from edgeglass_diag.explanation.of_revisions import RevisionSearch
from edgeglass_diag.explanation.outcome import Outcome, OutcomeThreshold
from edgeglass_diag.explanation.render import loss_words
from edgeglass_diag.replaying.revisions.commits import Ending
from edgeglass_diag.replaying.search import Subset


def interventions_verdict(tried: Tried, steps: int) -> str:
    """Return which interventions cure a program, with counts, the best first."""
    found = tried.found
    sentences = []
    if found.cures.sets:
        sentences += _cures(tried, steps)
    elif learns_already(found.failing):
        sentences.append(
            f"The program learns: after {steps} steps its loss is at {loss_words(found.failing)}. "
            "No change makes it clearly better."
        )
    else:
        sentences.append(f"No change cures: after {steps} steps the loss is at {loss_words(found.failing)}.")
    for kind, names in _others(tried).items():
        if names:
            sentences.append(f"{kind}: {', '.join(names)}.")
    sentences += _doubts(tried)
    return " ".join(sentences)


def _cures(tried: Tried, steps: int) -> list[str]:
    found = tried.found
    first, *rest = ranked(found)
    count = found.cures.counts.get(first)
    together = " only together" if len(first) > 1 else ""
    healthy = (found.outcomes or {}).get(min(first), found.healthy) if len(first) == 1 else found.healthy
    sentence = (
        f"Cured by {_said(first, tried)}{together} ({count}): after {steps} steps the loss is at "
        f"{loss_words(healthy)} instead of {loss_words(found.failing)}."
    )
    if not rest:
        return [sentence]
    also = " or ".join(f"{_said(each, tried)} ({found.cures.counts.get(each)})" for each in rest)
    return [sentence, f"Cured as well by {also}."]


def ranked(found: Explanation) -> list[Subset]:
    """Return the sets that cure, the best outcome first."""
    outcomes = found.outcomes or {}

    def loss(each: Subset) -> float:
        (name, *more) = each
        return math.inf if more or name not in outcomes else fmean(outcome.loss for outcome in outcomes[name])

    return sorted(found.cures.sets, key=loss)


def _said(changed: Subset, tried: Tried) -> str:
    return " and ".join(tried.nominations[name].words for name in sorted(changed))


def _others(tried: Tried) -> dict[str, list[str]]:
    """Return the changes that do not cure, by what they do instead."""
    found, curing = tried.found, {name for each in tried.found.cures.sets for name in each}
    said: dict[str, list[str]] = {
        "Only hides it (the loss falls, the answers stay at chance)": [],
        "Better, but the finding stays": [],
        "Not by": [],
        "Nothing to change or failed": [],
    }
    hides, better, nothing, absent = said.values()
    for name, nomination in tried.nominations.items():
        if name in curing:
            continue
        words, outcomes = nomination.words, (found.outcomes or {}).get(name, ())
        count = found.cures.singles.get(name)
        if count is None or not outcomes:
            absent.append(words)
        elif is_better(outcomes, found) and all(outcome.guesses for outcome in outcomes):
            hides.append(words)
        elif is_better(outcomes, found) and found.headline and all(found.headline in o.codes for o in outcomes):
            better.append(f"{words} ({found.headline})")
        else:
            nothing.append(f"{words} ({count})")
    return said


def is_better(outcomes: Sequence[Outcome], found: Explanation) -> bool:
    """Return whether all losses with a change are finite and below the threshold of a cure."""
    return all(math.isfinite(each.loss) and not found.threshold.is_failing(each) for each in outcomes)


def is_no_better(outcomes: Sequence[Outcome], found: Explanation, noise: float | None) -> bool:
    """Return whether the losses with a change are no lower than without, but for what seeds and noise make of it."""
    return not OutcomeThreshold.differ(found.failing, outcomes, noise=noise or 0.0)


def _doubts(tried: Tried) -> list[str]:
    found, sentences = tried.found, []
    if found.cures.flaky:
        names = ", ".join(dict.fromkeys(_said(each, tried) for each in found.cures.flaky))
        sentences.append(f"Seeds disagree about {names}: repeat with more seeds (--seeds).")
    if not found.finished:
        sentences.append("The budget was spent before everything was tried.")
    return sentences


_ENDINGS = {
    Ending.SAME: "has the same files as the program at present",
    Ending.GOOD_IS_ILL: "does not learn either",
    Ending.GOOD_IS_FLAKY: "learns with some seeds only: more seeds (--seeds) or steps (--steps) may decide",
    Ending.GOOD_IS_UNRESOLVED: "does not run in a replay",
    Ending.PRESENT_IS_HEALTHY: "learns, and so does the program as it is",
    Ending.PRESENT_IS_FLAKY: "learns, and the program as it is fails with some seeds only",
    Ending.PRESENT_IS_UNRESOLVED: "runs, and the program as it is does not run in a replay",
    Ending.CURED_ELSEWHERE: "learns, and the commit from which it branched off does not: the cure came with its branch",
    Ending.BRANCHING_IS_UNDECIDED: "learns, and of the commit from which it branched off nothing can be said",
}


def revisions_verdict(search: RevisionSearch, revision: str, steps: int) -> str:
    """Return by which commit and lines a program stopped learning, with counts."""
    present, good = loss_words(search.present), loss_words(search.good)
    ends = f"after {steps} steps the loss is at {present}, that of {revision} at {good}"
    if search.threshold is None or search.bisection is None:
        return f"The two revisions cannot be told apart: {ends}. Longer replays (--steps) may."
    found = search.bisection
    if found.ending is not Ending.FOUND:
        return f"{revision} {_ENDINGS[found.ending]}: {ends}."
    summaries = search.summaries or {}
    named = [
        f"{each[:10]} ({summaries[each]})" if each in summaries else "what is in no commit yet"
        for each in found.suspects
    ]
    if len(named) > 1:
        undecided = [each[:10] for each in (*found.flaky, *found.unresolved)]
        why = f": those between cannot be judged ({', '.join(undecided)})" if undecided else ""
        return f"Cause: one of the commits {', '.join(named)}{why}; {ends}."
    return " ".join([f"Cause: {named[0]}.", *_blamed(search), f"{ends[0].upper()}{ends[1:]}."])


def _blamed(search: RevisionSearch) -> list[str]:
    blame = search.blame
    if blame is None or not (blame.cures.sets or blame.made_ill.sets):
        return ["Which of its lines is not decided."]
    sentences = []
    for cured in blame.cures.sets:
        names = " and ".join(blame.names(cured))
        alone = (
            f", made ill by {_it(cured)} alone ({blame.made_ill.counts[cured]})"
            if cured in blame.made_ill.counts
            else ""
        )
        now = blame.at_present.get(cured)
        present = (
            f"; the program at present learns without {_it(cured)} ({now})" if now is not None and now.holds else ""
        )
        sentences.append(f"Cured by reverting {names} ({blame.cures.counts.get(cured)}){alone}{present}.")
    for ill in blame.made_ill.sets:
        if ill not in blame.cures.sets:
            sentences.append(f"Made ill by {' and '.join(blame.names(ill))} ({blame.made_ill.counts.get(ill)}).")
    return sentences


def _it(changed: Subset) -> str:
    return "it" if len(changed) == 1 else "them"
