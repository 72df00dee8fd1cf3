"""Which interventions are tried: those by which the rules put their findings to the test, then a few of general use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules import all_rules

GENERAL = (
    Intervention("optimizer.lr", 0.1),
    Intervention("optimizer.lr", 0.01),
    Intervention("optimizer.lr", 10.0),
    Intervention("optimizer.clip", 1.0),
    Intervention("optimizer.clear_gradients"),
    Intervention("optimizer.weight_decay", 0.0),
    Intervention("dropout.off"),
    Intervention("autocast.off"),
)
"""Tried when what the findings nominate does not cure: what is most often wrong in a training that runs."""

PLACEBO = Intervention("optimizer.lr", 1.0)
"""Changes nothing: what it makes different is noise."""


@dataclass(frozen=True)
class Nomination:
    """A suspect: an intervention, and the findings that it puts to the test; none for one of general use."""

    intervention: Intervention
    findings: tuple[Finding, ...] = ()


def headlines(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stand for themselves, worst first, each in the order in which it was found."""
    own = [each for each in findings if each.severity is not Severity.INFO and each.because_of is None]
    return sorted(own, key=lambda each: -each.severity.rank)


def nominate(findings: Sequence[Finding]) -> list[Nomination]:
    """Return the interventions by which findings are put to the test.

    The most direct one of each finding comes first, those of the headlines before those of what follows from them.
    """
    rules = {rule.code: rule for rule in all_rules()}
    own = headlines(findings)
    rest = [each for each in findings if each not in own and each.severity is not Severity.INFO]
    tests = {each.key: rules[each.code].nominated(each) for each in (*own, *rest) if each.code in rules}
    asked: dict[Intervention, list[Finding]] = {}
    for group in (own, rest):
        for place in range(max((len(tests.get(each.key, ())) for each in group), default=0)):
            for finding in group:
                for intervention in tests.get(finding.key, ())[place : place + 1]:
                    asked.setdefault(intervention, []).append(finding)
    return [Nomination(intervention, tuple(of)) for intervention, of in asked.items()]
