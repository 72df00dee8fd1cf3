"""What the replays say of each headline finding: confirmed, refuted, or not asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeglass_diag.explanation.of_interventions import Tried
from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.program_words import is_no_better
from edgeglass_diag.marks import FindingMark, Mark
from edgeglass_diag.records import Finding
from edgeglass_diag.replaying.nominations import Nomination, headlines


def mark_findings(tried: Tried) -> tuple[FindingMark, ...]:
    """Return a mark of each finding that stands for itself.

    Confirmed: a change that its rule nominates cures, be it with another value. Refuted: with such a change the finding
    is gone, and the loss is no better than without. Not asked: no such change could be made, the finding stayed with
    each, or the training learns somewhat better.
    """
    return tuple(_mark(finding, tried) for finding in headlines(tried.findings))


def _mark(finding: Finding, tried: Tried) -> FindingMark:
    found, outcomes = tried.found, tried.found.outcomes or {}
    asked = {name: each.words for name, each in tried.nominations.items() if finding in each.findings}
    curing = {name for each in found.cures.sets if len(each) == 1 for name in each}
    kinds = {_kind(tried.nominations[name]) for name in asked}
    for name in [*asked, *tried.nominations]:
        words = tried.nominations[name].words
        if name in curing and _kind(tried.nominations[name]) in kinds:
            return _marked(finding, Mark.CONFIRMED, f"{words} cures ({found.cures.singles[name]})")
    together = next((each for each in found.cures.sets if len(each) > 1 and each & asked.keys()), None)
    if together is not None:
        names = " and ".join(tried.nominations[name].words for name in sorted(together))
        return _marked(finding, Mark.CONFIRMED, f"{names} cure together ({found.cures.counts.get(together)})")
    for name, words in asked.items():
        tried_of = outcomes.get(name, ())
        if _is_gone(finding.code, tried_of) and is_no_better(tried_of, found, tried.noise):
            return _marked(finding, Mark.REFUTED, f"{words}: it is gone, and the loss is no better")
    return _marked(finding, Mark.NOT_ASKED, _undecided(finding.code, asked, outcomes))


def _undecided(code: str, asked: Mapping[str, str], outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Return why a finding is neither confirmed nor refuted; empty where nothing was asked."""
    made = {name: words for name, words in asked.items() if outcomes.get(name)}
    stays = [words for name, words in made.items() if any(code in each.codes for each in outcomes[name])]
    better = [words for words in made.values() if words not in stays]
    said = [f"it stays with {', '.join(stays)}"] if stays else []
    return "; ".join([*said, *([f"somewhat better with {', '.join(better)}"] if better else [])])


def _kind(nomination: Nomination) -> tuple[tuple[str, str], ...]:
    """Return what is changed where, without the values."""
    return tuple((each.name, each.site) for each in nomination.interventions)


def _is_gone(code: str, outcomes: Sequence[Outcome]) -> bool:
    return bool(outcomes) and all(code not in outcome.codes for outcome in outcomes)


def _marked(finding: Finding, mark: Mark, by: str) -> FindingMark:
    return FindingMark(finding.code, finding.site, mark, by)
