"""Runs the rules over a growing history and keeps what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeglass_diag.records import Finding, Severity, Window
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import nest
from edgeglass_diag.rules.history import Held, History
from edgeglass_diag.rules.training_state import learned


class Engine:
    """Feeds windows to rules.

    A finding keeps the step at which it was first made, or at which a fact first became a fault; its message and
    evidence are those of the newest verdict. It is not taken back when its condition ends: that it was so remains true.
    But where a rule says that nothing is learned, and the model then learns, its finding becomes a mere fact (info):
    many models that are trained from scratch sit at chance, with hardly varying embeddings, before they leave it.

    Args:
        rules: the rules that run.

    Attributes:
        failures: of rules that raised an exception, by code.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._found: dict[tuple[str, str], Finding] = {}
        self._since: dict[tuple[str, str], int] = {}
        self.history = History()
        self.failures: dict[str, str] = {}

    @property
    def findings(self) -> list[Finding]:
        """All findings so far, in the order they were made."""
        return list(self._found.values())

    def feed(self, window: Window) -> list[Finding]:
        """Add a window; returns the findings that are new or worse, or whose cause changed."""
        self.history.add(window)
        return self._judge()

    def end(self) -> list[Finding]:
        """The training has come to its own end; returns what is new or worse by that."""
        self.history.ended = True
        return self._judge()

    def _judge(self) -> list[Finding]:
        before = dict(self._found)
        state = learned(self.history)
        for rule in self._rules:
            if rule.code not in self.failures:
                stands = self._ask(rule)
                if state is not None and rule.refuted_by_learning:
                    self._refute(rule.code, stands, state)
        self._found = {finding.key: finding for finding in nest(self._found.values())}
        return [f for f in self._found.values() if _differs(before.get(f.key), f)]

    def _ask(self, rule: Rule) -> set[tuple[str, str]]:
        """One rule's verdict. A rule that fails is asked no more; the others and the record go on."""
        stands = set()
        try:
            for finding in rule.check(self.history):
                known = self._found.get(finding.key)
                if finding.severity is not Severity.INFO:
                    step = self._since.setdefault(finding.key, finding.step)
                else:
                    step = finding.step if known is None else known.step
                self._found[finding.key] = replace(finding, step=step)
                stands.add(finding.key)
        except Exception as error:
            self.failures[rule.code] = f"{type(error).__name__}: {error}"
        return stands

    def _refute(self, code: str, stands: set[tuple[str, str]], state: Held) -> None:
        """Make facts of the findings of a rule that no longer stand, as the model has learned since."""
        better = -self.history.relative_loss.last
        for key, finding in self._found.items():
            if finding.code == code and key not in stands and "learned_since" not in finding.evidence:
                self._found[key] = replace(
                    finding,
                    severity=Severity.INFO,
                    message=f"{finding.message}; that has passed: since step {state.since} the model learns (the loss "
                    f"is {better:.0%} below chance)",
                    evidence={**finding.evidence, "learned_since": state.since},
                )


def _differs(known: Finding | None, finding: Finding) -> bool:
    if known is None:
        return True
    return known.severity != finding.severity or known.because_of != finding.because_of
