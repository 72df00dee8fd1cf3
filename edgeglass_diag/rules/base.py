"""What a rule is."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.history import History


@dataclass(frozen=True)
class Rule:
    """One check. Thresholds are dataclass fields, so that a configuration can set them.

    The docstring of a rule is its page: why, formula, threshold. ``source`` says where the threshold comes from.
    ``refuted_by_learning`` says that its verdict is "nothing is learned like this", so that a model which then learns
    proves it wrong.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    source: ClassVar[str]
    fix: ClassVar[str]
    refuted_by_learning: ClassVar[bool] = False

    def check(self, history: History) -> Iterable[Finding]:
        """Findings that the history supports now; the same finding may be returned again."""
        raise NotImplementedError

    def finding(
        self,
        history: History,
        message: str,
        *,
        site: str = "",
        evidence: Mapping[str, object],
        severity: Severity | None = None,
        fix: str | None = None,
    ) -> Finding:
        """A finding of this rule at the newest step."""
        return Finding(
            self.code,
            self.name,
            severity or self.severity,
            site,
            max(history.last_step, 0),
            message,
            dict(evidence),
            fix or self.fix,
        )

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def page(cls) -> str:
        """The rule's own words."""
        return inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def summary(cls) -> str:
        """First sentence of the page."""
        return cls.page().split("\n\n")[0].replace("\n", " ")
