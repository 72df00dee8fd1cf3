"""What a rule is."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

from edgeglass_diag.intervention import Intervention, Site
from edgeglass_diag.records import Bounds, ConfiguredRule, Finding, Severity, SourceLine
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import has_learned, learns_since, no_gradient
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.site_paths import first_call


class Stage(StrEnum):
    """Where a rule looks."""

    INIT = "init"
    RUN = "run"
    LOG = "log"
    RECORD = "record"
    RANKS = "ranks"


@dataclass(frozen=True)
class Rule:
    """One check. Thresholds are dataclass fields, so that a configuration can set them; those that count are integers.

    The docstring of a rule is its page of documentation: what is wrong, why it is bad, formula, threshold.

    Attributes:
        code: stable code.
        name: the fault as a slug.
        title: the fault in a practitioner's words, with which its messages begin.
        severity: how bad it is.
        page: page of the dashboard that shows it.
        signals: what it judges, the most telling first.
        source: where the thresholds come from.
        fix: what to do in general; a finding's own may know more (``finding``).
        faulty: an example of the fault, in a line of code or of a log.
        healthy: the same line without it.
        brought_by: codes of the faults that can bring it, the most direct first.
        stages: where it is looked for: before the first step, in a run, in logged numbers (by the audit), in
            how the record itself stands, in the records of several ranks together.
        aliases: codes that it had, with the names that its thresholds had under them and have now.
        refuted_by_learning: whether its verdict is "nothing is learned like this", so that a model which then learns
            proves it wrong. Its verdicts are early until the model has had the time to begin (``patience``).
        hinders_learning: whether its verdict is "with this setting a model learns badly", and about nothing else that
            harms, so that a model which has learned all the same bears it: a warning at most while it learns, a fact
            once it has learned (``progress``). Not of weights that do not train, of leaks and of evaluations, which
            harm what answers in training do not show.
        cures: changes from outside that make the training learn if the verdict is right, at most three, the most
            direct first: replays with them confirm the verdict, or refute it. None where no such change exists, and
            where the verdict is about something else than whether the training learns.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity]
    source: ClassVar[str]
    fix: ClassVar[str]
    page: ClassVar[str] = "overview"
    signals: ClassVar[tuple[Signal, ...]] = ()
    faulty: ClassVar[str] = ""
    healthy: ClassVar[str] = ""
    brought_by: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[tuple[Stage, ...]] = (Stage.RUN,)
    aliases: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    refuted_by_learning: ClassVar[bool] = False
    hinders_learning: ClassVar[bool] = False
    cures: ClassVar[tuple[Intervention, ...]] = ()

    def check(self, history: History) -> Iterable[Finding]:
        """Return the findings that a run, or an inspection before it, supports now; they may be returned again."""
        return ()

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return what an inspection before the first optimizer step alone shows."""
        return ()

    def can_be_outgrown(self, history: History, finding: Finding) -> bool:
        """Return whether further training alone may prove a verdict wrong.

        Not where no gradient is left to do so, nor where the model had learned and has lost it.
        """
        return self.refuted_by_learning and not no_gradient(history) and not has_learned(history)

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return the step since which a verdict, whose condition does not hold now, is lastingly over; else None.

        So is one that nothing is learned once the model learns.
        """
        return learns_since(history) if self.refuted_by_learning else None

    def bounds(self) -> Mapping[Signal, Bounds]:
        """Return where signals are healthy by the thresholds; empty where a threshold alone does not tell."""
        return {}

    def configured(self) -> ConfiguredRule:
        """Return the rule as it runs, for ``run.json``."""
        return ConfiguredRule(
            self.code,
            self.name,
            self.title,
            self.thresholds,
            self.page,
            tuple(str(signal) for signal in self.signals),
            {str(signal): bounds for signal, bounds in self.bounds().items()},
        )

    def finding(  # noqa: PLR0913  the fields of a finding, by name
        self,
        history: History,
        detail: str,
        *,
        site: str = "",
        evidence: Mapping[str, object],
        severity: Severity | None = None,
        since: int | None = None,
        place: SourceLine | None = None,
        focus: str = "",
        fix: str = "",
    ) -> Finding:
        """Return a finding of this rule at the newest step.

        Args:
            history: what has been recorded.
            detail: numbers and place, in words; the title is put in front.
            site: path of the site, empty for the whole model.
            evidence: what was measured, by name, for people.
            severity: that of the rule where None.
            since: the step from which on it is so.
            place: the line of source that brought it.
            focus: path of the site to look at first, where it is not ``site``.
            fix: what to do in this case, by the task and by what was measured; that of the rule where empty.
        """
        return Finding(
            self.code,
            self.name,
            severity or self.severity,
            site,
            max(history.last_step, 0),
            f"{self.title}: {detail}",
            dict(evidence),
            fix or self.fix,
            sites=(site,),
            since=since,
            place=place,
            focus=focus,
        )

    @classmethod
    def nominated(cls, finding: Finding) -> list[Intervention]:
        """Return the changes by which a finding of this rule is put to the test, the most direct first."""
        made = [each.of_finding(cls.place_of(each, finding)) for each in cls.cures]
        return [each for each in made if each.site or each.kind.site is not Site.NEEDED]

    @classmethod
    def place_of(cls, cure: Intervention, finding: Finding) -> str:
        """Return what takes the place of ``AT_FINDING``: a path without calls where a module or parameter is changed.

        It is empty where a finding is of the whole model: of such changes those of one place are left out.
        """
        place = finding.focus or finding.site
        return place if cure.kind.of in ("attention", "loss") else first_call(place)

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def documentation(cls) -> str:
        """Return the rule's own text."""
        return inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def summary(cls) -> str:
        """Return the first sentence of its text."""
        return cls.documentation().split("\n\n")[0].replace("\n", " ")
