"""What the replays say of each headline finding: confirmed, refuted, or not asked."""

from __future__ import annotations

from collections.abc import Sequence

from edgeglass_diag.explanation.of_interventions import Tried
from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.program_words import is_no_better
from edgeglass_diag.marks import FindingMark, Mark
from edgeglass_diag.records import Finding
from edgeglass_diag.replaying.nominations import headlines


def mark_findings(tried: Tried) -> tuple[FindingMark, ...]:
    """Return a mark of each finding that stands for itself.

    Confirmed: a change that its rule nominates cures, be it with another value. Refuted: with such a change the finding
    is gone, and the loss is no better than without. Not asked: no such change could be made, the finding stayed with
    each, or the training learns somewhat better.
    """
    return tuple(_mark(finding, tried) for finding in headlines(tried.findings))


def _mark(finding: Finding, tried: Tried) -> FindingMark:
    found, outcomes = tried.found, tried.found.outcomes or {}
    asked = {name: each.intervention.words for name, each in tried.nominations.items() if finding in each.findings}
    curing = {name for each in found.cures.sets if len(each) == 1 for name in each}
    kinds = {(each.name, each.site) for each in (tried.nominations[name].intervention for name in asked)}
    for name in [*asked, *tried.nominations]:
        intervention = tried.nominations[name].intervention
        words = intervention.words
        if name in curing and (intervention.name, intervention.site) in kinds:
            return _marked(finding, Mark.CONFIRMED, f"{words} cures ({found.cures.singles[name]})")
    together = next((each for each in found.cures.sets if len(each) > 1 and each & asked.keys()), None)
    if together is not None:
        names = " and ".join(tried.nominations[name].intervention.words for name in sorted(together))
        return _marked(finding, Mark.CONFIRMED, f"{names} cure together ({found.cures.counts.get(together)})")
    for name, words in asked.items():
        tried_of = outcomes.get(name, ())
        if _is_gone(finding.code, tried_of) and is_no_better(tried_of, found, tried.noise):
            return _marked(finding, Mark.REFUTED, f"{words}: it is gone, and the loss is no better")
    stayed = [words for name, words in asked.items() if outcomes.get(name)]
    return _marked(finding, Mark.NOT_ASKED, f"it stays with {', '.join(stayed)}" if stayed else "")


def _is_gone(code: str, outcomes: Sequence[Outcome]) -> bool:
    return bool(outcomes) and all(code not in outcome.codes for outcome in outcomes)


def _marked(finding: Finding, mark: Mark, by: str) -> FindingMark:
    return FindingMark(finding.code, finding.site, mark, by)
