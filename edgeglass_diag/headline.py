"""The verdict on a run in a practitioner's words: what happened, at which step, why, and whether that is proved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeglass_diag.marks import Mark
from edgeglass_diag.records import ConfiguredRule, Finding, Severity
from edgeglass_diag.verdict import Branch, Verdict, about_the_record, compare_loss, nest

_STATES: Mapping[str, str] = {
    "EG801": "Broken by NaN",
    "EG807": "Broken by NaN",
    "EG204": "Diverged",
    "EG301": "Collapsed",
    "EG307": "Collapsed",
    "EG309": "Collapsed",
    "EG310": "Collapsed",
    "EG302": "Collapsed",
    "EG207": "Learning lost",
}
"""What has happened to a training in which this was found, by the code of the rule; the first that fits is said."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict in parts.

    Attributes:
        tone: ``critical``, ``warning``, ``good`` or ``neutral``.
        state: what happened, as "Collapsed".
        since: the step at which it began, or was found, None where nothing is wrong.
        cause: the fault that brought it, empty where none is known.
        proof: what replays have shown of the cause, empty where none were made.
        branch: the finding at the root of it with what follows from it, None where nothing is wrong.
        site: where to look first, empty where that is not known.
        when: how the step follows on the state.
    """

    tone: str
    state: str
    since: int | None = None
    cause: str = ""
    proof: str = ""
    branch: Branch | None = None
    site: str = ""
    when: str = " at step"

    @property
    def text(self) -> str:
        """All of it in a line.

        >>> Headline("critical", "Collapsed", 12, "learning rate too high", "proved, 3/3").text
        'Collapsed at step 12: learning rate too high (proved, 3/3)'
        """
        at = "" if self.since is None else f"{self.when} {self.since}" if self.since else " from the start"
        cause = f": {self.cause}" if self.cause else ""
        return f"{self.state}{at}{cause}{f' ({self.proof})' if self.proof else ''}"


def headline(
    findings: Sequence[Finding],
    verdict: Verdict,
    losses: Sequence[float],
    chance: float | None,
    rules: Mapping[str, ConfiguredRule],
) -> Headline:
    """Return the verdict on a run in parts.

    Args:
        findings: all of the run.
        verdict: on it, which is said where no finding is at least a warning.
        losses: by step.
        chance: the chance level of the loss, None where it is not known.
        rules: as they judged the run, by code.
    """
    branches = nest(about_the_record(findings)[0])
    if not branches or branches[0].rank < Severity.WARNING.rank:
        return Headline(verdict.tone, verdict.model)
    root = branches[0]
    cause = title_of(root.finding, rules)
    happened, at = _happened(root, losses, chance)
    plain = cause.partition(" ")[0][1:].islower()
    said = cause[0].lower() + cause[1:] if plain else cause
    where = next((place for found in flatten(root) for place in (found.focus, found.site) if place), "")
    when = " at step" if happened in _STATES.values() else ", found at step"
    if root.finding.since is not None and when != " at step":
        when = " since step"
    return Headline(verdict.tone, happened, at, said, _proof(root.finding), root, where, when)


def title_of(finding: Finding, rules: Mapping[str, ConfiguredRule]) -> str:
    """Return the fault in a practitioner's words, without its numbers.

    >>> from edgeglass_diag.records import Severity
    >>> title_of(Finding("XX1", "update-too-large", Severity.WARNING, "", 3, "Update too large: 8 %"), {})
    'Update too large'
    """
    rule = rules.get(finding.code)
    if rule is not None and rule.title and rule.title != finding.code:
        return rule.title
    name = finding.name.replace("-", " ") or finding.code
    return name[0].upper() + name[1:]


def flatten(branch: Branch) -> list[Finding]:
    """Return the finding of a branch and all that follow from it."""
    return [branch.finding, *(below for inner in branch.consequences for below in flatten(inner))]


def _happened(root: Branch, losses: Sequence[float], chance: float | None) -> tuple[str, int]:
    found = flatten(root)
    severe = [finding for finding in found if finding.severity is Severity.CRITICAL]
    for code, state in _STATES.items():
        named = next((finding for finding in severe if finding.code == code), None)
        if named is not None:
            return state, named.onset
    learning, _ = compare_loss(losses, chance)
    if losses and not math.isfinite(losses[-1]):
        return "Broken by NaN", root.finding.onset
    if root.rank == Severity.CRITICAL.rank:
        return "Learning, but ill" if learning else "Does not learn", root.finding.onset
    words = {True: "Learning, with a warning", False: "Has not learned", None: "Warning"}[learning]
    return words, root.finding.onset


def _proof(finding: Finding) -> str:
    if finding.mark is Mark.CONFIRMED:
        return f"proved: {finding.mark_by}" if finding.mark_by else "proved"
    if finding.mark is not Mark.REFUTED:
        return ""
    return "not the cause by replays" if finding.severity is Severity.INFO else "refuted by replays"
