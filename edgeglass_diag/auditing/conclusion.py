"""What the audit concludes: a finding with the work that leads to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.records import Finding, Severity


class Verdict(Protocol):
    """A rule of the catalogue, or a conclusion of the audit alone."""

    @property
    def code(self) -> str:
        """Stable code."""

    @property
    def name(self) -> str:
        """The fault as a slug."""

    @property
    def title(self) -> str:
        """The fault in a practitioner's words."""

    @property
    def severity(self) -> Severity:
        """Default severity."""

    @property
    def fix(self) -> str:
        """What to do."""


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """A conclusion that has no rule, since it needs nothing but logged numbers.

    Attributes:
        code: stable code.
        name: the fault as a slug.
        title: the fault in a practitioner's words, with which its messages begin.
        severity: how bad it is.
        fix: what to do.
        summary: what is wrong, in a sentence.
        source: where the bound comes from.
    """

    code: str
    name: str
    title: str
    severity: Severity
    fix: str
    summary: str
    source: str = "derived"


@dataclass(frozen=True)
class Work:
    """How a conclusion was reached.

    Attributes:
        arithmetic: lines of arithmetic.
        hypotheses: how many were tried; None where none were.
        coincidence: expected number of them that would fit by coincidence.
    """

    arithmetic: tuple[str, ...] = ()
    hypotheses: int | None = None
    coincidence: float | None = None

    def evidence(self) -> dict[str, object]:
        """Return what it adds to the evidence of a finding."""
        found: dict[str, object] = {}
        if self.arithmetic:
            found["arithmetic"] = self.arithmetic[0] if len(self.arithmetic) == 1 else list(self.arithmetic)
        if self.hypotheses is not None:
            found |= {"hypotheses": self.hypotheses, "coincidence": self.coincidence}
        return found


@dataclass(frozen=True)
class Concluded:
    """A finding of the audit, and its work."""

    finding: Finding
    work: Work = field(default_factory=Work)


def site_of(case: Case, series: Series) -> str:
    """Return the site of what is concluded about a column."""
    return f"{case.name}/{series.label}"


def conclude(  # noqa: PLR0913
    verdict: Verdict | type[Verdict],
    case: Case,
    series: Series,
    detail: str,
    *,
    evidence: Mapping[str, object],
    work: Work = Work(),
    severity: Severity | None = None,
    since: int | None = None,
    because_of: str | None = None,
) -> Concluded:
    """Return a conclusion about one column of a history, at its last step.

    Args:
        verdict: the rule, or the conclusion of the audit alone.
        case: the history.
        series: the column.
        detail: the numbers in words; title and history are put in front.
        evidence: what was read and computed, by name, for people.
        work: the arithmetic.
        severity: that of the verdict where None.
        since: the step from which on it is so.
        because_of: code of the finding that it follows from.
    """
    site = site_of(case, series)
    found = Finding(
        str(verdict.code),
        str(verdict.name),
        severity or Severity(str(verdict.severity)),
        site,
        series.last_step,
        f"{verdict.title} in {case.name}: {detail}",
        {"history": case.name, "file": case.source, "column": series.label, **evidence, **work.evidence()},
        str(verdict.fix),
        because_of,
        (site,),
        since,
    )
    return Concluded(found, work)
