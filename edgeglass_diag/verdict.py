"""Findings and losses put into words: is it learning, and if not, what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgeglass_diag.records import Finding, RunStatus, Severity

_MARGIN = 0.05  # of chance: a loss this much below chance has left it for good, and noise does not reach it
_RECENT = 5
_LONGEST = 8
TONES = ("critical", "warning", "good", "neutral")
"""Of verdicts, the worst first."""
ABOUT_THE_RECORD = frozenset({"EG901", "EG902", "EG903", "EG904", "EG905", "EG906"})
"""Codes of findings about the record itself."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A finding and those that follow from it."""

    finding: Finding
    consequences: tuple[Branch, ...] = ()

    @property
    def rank(self) -> int:
        """The rank of the worst severity in the branch."""
        return max([self.finding.severity.rank, *(branch.rank for branch in self.consequences)])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a run first, and its tone: ``critical``, ``warning``, ``good`` or ``neutral``.

    ``model`` is a sentence about the training, ``record`` about what was not recorded of it; empty where all was.
    """

    tone: str
    model: str
    record: str = ""

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.model.rstrip('.')}. {self.record}" if self.record else self.model


def about_the_record(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Return the findings about the model, and those about the record of it."""
    record = [finding for finding in findings if finding.code in ABOUT_THE_RECORD]
    return [finding for finding in findings if finding.code not in ABOUT_THE_RECORD], record


def none_found(recorded: int, taken: int, *, so_far: bool = False) -> str:
    """Return "No findings", with the share of the steps that this is said of where some were not recorded.

    Args:
        recorded: steps of which there is a window.
        taken: steps of the training.
        so_far: whether it goes on.

    >>> none_found(400, 400), none_found(30, 400), none_found(0, 400)
    ('No findings', 'No findings in the 30 of 400 steps that were recorded', 'No step was recorded')
    """
    so_far_words = " so far" if so_far else ""
    if not recorded:
        return f"No step was recorded{so_far_words}"
    return f"No findings{so_far_words}{share_recorded(recorded, taken)}"


def share_recorded(recorded: int, taken: int) -> str:
    """Return the share of the steps of which something is said; empty where that is all of them.

    >>> share_recorded(30, 400), share_recorded(400, 400)
    (' in the 30 of 400 steps that were recorded', '')
    """
    return "" if recorded >= taken else f" in the {recorded} of {taken} steps that were recorded"


def nest(findings: Sequence[Finding]) -> list[Branch]:
    """Return the findings, each under its cause; roots come worst first, otherwise in the given order.

    A finding whose cause is not among ``findings`` (or that would cause itself) is a root.
    """
    first: dict[str, int] = {}
    for index, finding in enumerate(findings):
        first.setdefault(finding.code, index)
    causes = [first.get(finding.because_of or "") for finding in findings]

    def leads_back(index: int) -> bool:
        passed: set[int] = set()
        at = causes[index]
        while at is not None and at not in passed:
            passed.add(at)
            at = causes[at]
        return index in passed

    def grow(index: int) -> Branch:
        below = [i for i, cause in enumerate(causes) if cause == index]
        return Branch(findings[index], tuple(grow(i) for i in below))

    causes = [None if leads_back(index) else cause for index, cause in enumerate(causes)]
    roots = [grow(index) for index, cause in enumerate(causes) if cause is None]
    return sorted(roots, key=lambda branch: -branch.rank)


def compare_loss(losses: Sequence[float], chance: float | None) -> tuple[bool | None, str]:
    """Return whether the recent loss (median of the last 5) is below chance, and that in words.

    It is None where no loss was recorded, or its chance level is not known.

    >>> compare_loss([5.0, 2.1], 4.852)
    (True, 'loss 3.55 is 1.3 below chance 4.85')
    >>> compare_loss([4.86], 4.852)
    (False, 'loss 4.86 is at chance 4.85')
    """
    if not losses:
        return None, "no loss has been recorded"
    if not math.isfinite(losses[-1]):
        return False, "the loss is no longer a finite number"
    loss = median(value for value in losses[-_RECENT:] if math.isfinite(value))
    if chance is None or not math.isfinite(chance) or chance <= 0:
        return None, f"loss {loss:.3g}, chance not known"
    gap = chance - loss
    if abs(gap) <= _MARGIN * chance:
        return False, f"loss {loss:.3g} is at chance {chance:.3g}"
    return gap > 0, f"loss {loss:.3g} is {abs(gap):.2g} {'below' if gap > 0 else 'above'} chance {chance:.3g}"


def judge(
    findings: Sequence[Finding],
    losses: Sequence[float],
    chance: float | None,
    status: RunStatus,
    *,
    recorded: int,
    taken: int,
    failure: str = "",
) -> Verdict:
    """Return the verdict on a run.

    Args:
        findings: all of the run.
        losses: by step.
        chance: the chance level of the loss, None where it is not known.
        status: of the run, as ``finished``.
        recorded: steps of which there is a window.
        taken: steps of the training.
        failure: what ended a training of several ranks that failed, with the rank that ended first.
    """
    model, record = about_the_record(findings)
    gaps = any(finding.severity.rank >= Severity.WARNING.rank for finding in record)
    none = none_found(recorded, taken, so_far=status == RunStatus.RUNNING)
    verdict = _of_the_model(model, losses, chance) or _without_findings(
        losses, chance, status, none, gaps=gaps, is_told=bool(failure)
    )
    if failure and status in (RunStatus.FAILED, RunStatus.FINISHED):
        tone = min(verdict.tone, "warning", key=TONES.index)
        verdict = Verdict(tone, f"The run failed: {failure}. {verdict.model}")
    if status == RunStatus.FAILED:
        verdict = Verdict("critical", verdict.model)
    tones = [verdict.tone, *(str(finding.severity) for finding in record if finding.severity != Severity.INFO)]
    return Verdict(min(tones, key=TONES.index), verdict.model, "; ".join(finding.message for finding in record))


def _of_the_model(findings: Sequence[Finding], losses: Sequence[float], chance: float | None) -> Verdict | None:
    """Return what is wrong with the model; None where nothing is."""
    learning, words = compare_loss(losses, chance)
    roots = nest(findings)
    headline = roots[0].finding.message if roots else ""
    worst = roots[0].rank if roots else -1
    if worst == Severity.CRITICAL.rank:
        return Verdict("critical", f"{'Learning, but' if learning else 'Does not learn'}: {headline}")
    if losses and not math.isfinite(losses[-1]):
        return Verdict("critical", f"Does not learn: {words}")
    if worst == Severity.WARNING.rank:
        start = {True: "Learning, with a warning", False: "Has not learned", None: "Warning"}[learning]
        return Verdict("warning", f"{start}: {headline}")
    return None


def _without_findings(
    losses: Sequence[float], chance: float | None, status: RunStatus, none: str, *, gaps: bool, is_told: bool
) -> Verdict:
    """Return what is said where no rule fired; of a training after a gap in its record nothing is claimed."""
    learning, words = compare_loss(losses, chance)
    if learning:
        failed = "The run failed. " if status == RunStatus.FAILED and not is_told else ""
        return Verdict("good", f"{failed}Learning{' as far as it was recorded' if gaps else ''}: {words}")
    if status == RunStatus.RUNNING:
        return Verdict("neutral", f"{none}: {words}")
    if status != RunStatus.FINISHED:
        said = f"{words}; {none[0].lower()}{none[1:]}"
        if is_told and status == RunStatus.FAILED:
            return Verdict("warning", f"{said[0].upper()}{said[1:]}")
        how = "failed" if status == RunStatus.FAILED else "was stopped"
        return Verdict("warning", f"The run {how}: {said}")
    if learning is None or gaps:
        return Verdict("neutral", f"{none}: {words}")
    return Verdict("warning", f"Did not learn: {words}, and no rule tells why")


def say(value: object) -> str:
    """Return a value of the evidence in few characters.

    >>> say(0.000123456), say([1.0, 2.5]), say({"min": 0.25}), say(math.nan)
    ('0.0001235', '1, 2.5', 'min 0.25', 'NaN')
    """
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {say(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        shown = ", ".join(say(item) for item in value[:_LONGEST])
        return shown + (f", ... ({len(value)} in all)" if len(value) > _LONGEST else "")
    return str(value)
