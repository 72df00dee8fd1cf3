"""Runs the rules over a growing history and keeps what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeglass_diag.records import Finding, Window
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causes import nest
from edgeglass_diag.rules.history import History


class Engine:
    """Feeds windows to rules.

    A finding keeps the step at which it was first made; its message and evidence are those of the newest
    verdict. It is not taken back when its condition ends: that it was so remains true.

    Args:
        rules: the rules that run.

    Attributes:
        failures: of rules that raised an exception, by code.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._found: dict[tuple[str, str], Finding] = {}
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
        for rule in self._rules:
            if rule.code not in self.failures:
                self._ask(rule)
        self._found = {finding.key: finding for finding in nest(self._found.values())}
        return [f for f in self._found.values() if _differs(before.get(f.key), f)]

    def _ask(self, rule: Rule) -> None:
        """One rule's verdict. A rule that fails is asked no more; the others and the record go on."""
        try:
            for finding in rule.check(self.history):
                known = self._found.get(finding.key)
                self._found[finding.key] = finding if known is None else replace(finding, step=known.step)
        except Exception as error:
            self.failures[rule.code] = f"{type(error).__name__}: {error}"


def _differs(known: Finding | None, finding: Finding) -> bool:
    if known is None:
        return True
    return known.severity != finding.severity or known.because_of != finding.because_of
