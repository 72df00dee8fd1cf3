"""Which interventions are tried: those by which the rules put their findings to the test, then a few of general use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules import Rule, all_rules

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
    """A suspect: one change, at all places of a fault, and the findings that it puts to the test.

    Attributes:
        interventions: the change at each place.
        findings: those that nominate it; none for one of general use.
    """

    interventions: tuple[Intervention, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def label(self) -> str:
        """Its short name: ``initial.rows on a.latents and 3 more``."""
        return self.interventions[0].label + self._more("and {} more")

    @property
    def words(self) -> str:
        """What an answer calls it."""
        return self.interventions[0].words + self._more("and at {} more")

    def _more(self, words: str) -> str:
        count = len(self.interventions) - 1
        return f" {words.format(count)}" if count else ""


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
    tests = {each.key: _tests(rules[each.code], each) for each in (*own, *rest) if each.code in rules}
    asked: dict[tuple[Intervention, ...], list[Finding]] = {}
    for group in (own, rest):
        for place in range(max((len(tests.get(each.key, ())) for each in group), default=0)):
            for finding in group:
                for interventions in tests.get(finding.key, ())[place : place + 1]:
                    asked.setdefault(interventions, []).append(finding)
    return [Nomination(interventions, tuple(of)) for interventions, of in asked.items()]


def _tests(rule: type[Rule], finding: Finding) -> list[tuple[Intervention, ...]]:
    """Return the changes that a rule nominates for a finding, each at all of its sites."""
    places = [finding]
    if len(finding.sites) > 1:
        places = [replace(finding, site=site, focus="") for site in finding.sites]
    made = [rule.nominated(each) for each in places]
    return [tuple(dict.fromkeys(at_once)) for at_once in zip(*made, strict=False)]
