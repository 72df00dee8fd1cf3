"""Runs the rules over a growing history and keeps what they found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

from edgeglass_diag.records import Finding, Severity, Window
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import nest, nest_below
from edgeglass_diag.rules.folding import fold
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import patience
from edgeglass_diag.rules.progress import Progress, answers_in_words, progress


class Engine:
    """Feeds windows to rules.

    A verdict keeps the step at which it was first made, or at which a fact first became a fault; its message and
    evidence are the newest. It is not taken back when its condition ends: that it was so remains true.
    But where a rule says that nothing is learned, and the model then learns, it becomes a mere fact (info):
    many models that are trained from scratch sit at chance, with hardly varying embeddings, before they leave it. So
    does a verdict of which the rule itself sees that it is over (``passed_since``), where no chance level is known.
    Until it has had the time to (``patience``), or the training ends, such a verdict is early: a warning at most, which
    is withdrawn as soon as the loss leaves chance. Where a rule judges a setting that hinders learning, its condition
    lasts as long as the setting: it is weighed against what the model has learned (``progress``).
    Verdicts that differ only in their layer, call or prefix are one finding.

    Args:
        rules: the rules that run.

    Attributes:
        history: what has been recorded.
        failures: of rules that raised an exception, by code.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._rule_of = {rule.code: rule for rule in rules}
        self._brought_by = {rule.code: rule.brought_by for rule in rules}
        self._verdicts: dict[tuple[str, str], Finding] = {}
        self._since: dict[tuple[str, str], int] = {}
        self._earlier: dict[tuple[str, str], Finding] = {}
        self._findings: list[Finding] = []
        self._progress = Progress.UNKNOWN
        self.history = History(rules)
        self.failures: dict[str, str] = {}

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules that run."""
        return self._rules

    @property
    def findings(self) -> list[Finding]:
        """All findings so far, in the order they were made."""
        return list(self._findings)

    def findings_below(self, causes: Iterable[Finding]) -> list[Finding]:
        """Return all findings, those that others have brought below these."""
        return nest_below(self._findings, causes, self._brought_by)

    def take_over(self, windows: Iterable[Window], findings: Iterable[Finding]) -> None:
        """Know what an earlier process of the same run has recorded and found; nothing of it is judged or told again.

        Args:
            windows: by rising step.
            findings: as they were shown.
        """
        for window in windows:
            self.history.add(window)
        for finding in findings:
            for site in (finding.sites or (finding.site,)) if finding.code in self._rule_of else ():
                verdict = replace(finding, site=site, sites=(site,), because_of=None)
                self._verdicts[verdict.key] = self._earlier[verdict.key] = verdict
                if finding.severity is not Severity.INFO:
                    self._since[verdict.key] = finding.step
        self._findings = nest(fold(self._verdicts.values()), self._brought_by)

    def feed(self, window: Window) -> list[Finding]:
        """Add a window, and return the findings that are new or worse, or whose cause changed.

        A finding that merely holds at further sites is not returned.
        """
        self.history.add(window)
        return self._judge()

    def end(self) -> list[Finding]:
        """Note that the training has come to its own end, and return what is new or worse by that."""
        self.history.ended = True
        return self._judge()

    def _judge(self) -> list[Finding]:
        before = {finding.key: finding for finding in self._findings}
        stands = {key for rule in self._rules if rule.code not in self.failures for key in self._ask(rule)}
        if any(self._rule_of[code].refuted_by_learning for code, _ in self._verdicts):
            self.history.early_until = 0 if self.history.ended else patience(self.history)
        self._progress = progress(self.history) if self._verdicts else Progress.UNKNOWN
        self._note_passed([key for key, verdict in self._verdicts.items() if _may_pass(verdict) and key not in stands])
        self._findings = nest(fold(map(self._shown, self._verdicts.values())), self._brought_by)
        return [finding for finding in self._findings if _is_news(before.get(finding.key), finding)]

    def _shown(self, verdict: Finding) -> Finding:
        """Return a verdict as it is shown: by what the model has learned, and early where training may prove it wrong.

        A setting that keeps a model from learning is at most a warning while it learns, and a fact once it has learned.
        """
        rule = self._rule_of[verdict.code]
        if verdict.severity is Severity.INFO or verdict is self._earlier.get(verdict.key):
            return verdict
        if rule.hinders_learning and self._progress is Progress.DONE:
            said = f"{verdict.message}; the model learns all the same: {answers_in_words(self.history)}"
            return replace(verdict, severity=Severity.INFO, message=said)
        if rule.hinders_learning and self._progress is Progress.UNDER_WAY:
            return replace(verdict, severity=Severity.WARNING)
        until = self.history.early_until
        if self.history.last_step >= until or not rule.can_be_outgrown(self.history, verdict):
            return verdict
        said = f"{verdict.message}; this may be early: it stands from step {until} on, or when the training ends"
        return replace(verdict, severity=Severity.WARNING, message=said, early_until=until)

    def has_lowered(self, finding: Finding) -> bool:
        """Return whether a finding of a rule that warns is shown as a fact, as the model learns all the same."""
        rule = self._rule_of.get(finding.code)
        lowered = rule is not None and rule.hinders_learning and finding.severity is Severity.INFO
        return lowered and self._progress is Progress.DONE

    def _ask(self, rule: Rule) -> set[tuple[str, str]]:
        """Take one rule's verdicts. A rule that fails is asked no more; the others and the record go on."""
        stands = set()
        try:
            for verdict in self._verdicts_of(rule):
                known = self._verdicts.get(verdict.key)
                if verdict.severity is not Severity.INFO:
                    step = self._since.setdefault(verdict.key, verdict.step)
                else:
                    step = verdict.step if known is None else known.step
                self._verdicts[verdict.key] = replace(verdict, step=step)
                stands.add(verdict.key)
        except Exception as error:
            self.failures[rule.code] = f"{type(error).__name__}: {error}"
        return stands

    def _verdicts_of(self, rule: Rule) -> Iterable[Finding]:
        yield from rule.check(self.history)
        if self.history.is_inspection:
            yield from rule.check_at_init(self.history)

    def _note_passed(self, keys: Iterable[tuple[str, str]]) -> None:
        """Make facts of verdicts that are over."""
        for key in keys:
            verdict = self._verdicts[key]
            rule = self._rule_of[verdict.code]
            since = rule.passed_since(self.history, verdict)
            if since is not None:
                how = self._better(since) if rule.refuted_by_learning else f"it is otherwise since step {since}"
                message = f"{verdict.message}; that has passed: {how}"
                self._verdicts[key] = replace(verdict, severity=Severity.INFO, message=message, learned_since=since)

    def _better(self, since: int) -> str:
        better = -median(self.history.relative_loss.values[-4:])
        return f"since step {since} the model learns (the loss is {better:.0%} below chance)"


def _may_pass(verdict: Finding) -> bool:
    return verdict.severity is not Severity.INFO and verdict.learned_since is None


def _is_news(known: Finding | None, finding: Finding) -> bool:
    if known is None:
        return True
    if known.is_early and not finding.is_early and finding.severity is not Severity.INFO:
        return True
    return finding.severity.rank > known.severity.rank or known.because_of != finding.because_of
