"""EG414: a term of the loss that stays at its own chance level, beside others that learn or alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import sqrt

from edgeglass_diag.records import Finding, Severity, Task
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS, REACH, STEPS
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.remedies import pairs_remedy
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.tasks import task_of
from edgeglass_diag.signals.losses import (
    LOSS_ACCURACY,
    LOSS_CANDIDATES,
    LOSS_LABEL_SMOOTHING,
    LOSS_LARGEST_ANSWER,
    LOSS_LARGEST_LABEL,
    LOSS_LEVEL,
    LOSS_PART,
    LOSS_ROWS,
    LOSS_TARGET_ENTROPY,
    LOSS_VALUE,
    LOSS_WEIGHT,
)
from edgeglass_diag.sites import LossSite


@dataclass(frozen=True)
class TermAtChance(Rule):
    """A term of the loss learns nothing: it stays where the frequencies of its labels alone put it.

    Why: the whole loss falls, as another term learns, and hides it. A matching head with one match for two strangers
    rests at 0.6365, which is H(1/3, 2/3), and calls every pair a stranger. A term that is a hundredth of the loss
    beside another that is all of it is drowned.

    Formula: the mean of the term's newest ``windows`` values is at least that of its level, what it would be where
    nothing but the labels' frequencies is known, less ``tolerance`` of what there is to learn (the level less the
    entropy of soft targets), over at least ``steps`` steps and ``windows`` windows, in which the median weight matrix
    moved by ``moved`` of its norm in all, with an accuracy within three standard deviations of always giving the most
    frequent label. A term whose level is ln(candidates) must have another beside it that is a fifth below its own
    level, or a fifth lower than at first. A term that has learned since is a fact (info).
    """

    tolerance: float = 0.01
    steps: int = 40
    windows: int = 8
    moved: float = 0.5

    code = "EG414"
    name = "term-at-chance"
    title = "Loss term learns nothing"
    severity = Severity.WARNING
    page = "overview"
    signals = (LOSS_VALUE, LOSS_LEVEL, LOSS_ACCURACY, LOSS_LARGEST_ANSWER, LOSS_PART)
    source = "derived: the least cross-entropy of a constant guess is the entropy of the labels; BLIP #200 (0.6365)"
    fix = "Check that each sample of this term reaches its head with its own label, and that its gradient gets there."
    faulty = "labels for pairs in another order than the pairs: 0.6365 for one match in three"
    healthy = "the same head at 0.31 after as many steps"
    brought_by = ("EG415", "EG416", *INPUTS, "EG405", "EG406", "EG412", *STEPS, *REACH, *DIVERGENCE, "EG701")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per term."""
        for site, levels in history.of(LOSS_LEVEL):
            values, weight = history.series(LOSS_VALUE, site), history.series(LOSS_WEIGHT, site)
            if not len(weight) or weight.last == 0:
                continue
            rest = self._rest(history, site, values, levels)
            if rest is None or not self._guesses(history, site, *rest):
                continue
            other = learning_term(history, site)
            if other or len(history.series(LOSS_LARGEST_LABEL, site)):  # else the whole loss is at chance: EG401
                yield self._verdict(history, site, *rest, other)

    def _rest(self, history: History, site: str, values: Series, levels: Series) -> tuple[int, int] | None:
        """Return the first step and the last (-1 while it lasts) of a lasting rest at the level; None without one.

        What has ended is looked for at the beginning alone, where a term that learns late rests.
        """
        since, until, windows = values.steps[0], -1, 0
        state = values.streak(lambda step, _: self._stays(history, site, values, levels, step))
        if state is not None:
            since, windows = state.since, state.windows
        else:
            for step in values.steps:
                if not self._stays(history, site, values, levels, step):
                    break
                until, windows = step, windows + 1
        last = values.steps[-1] if until < 0 else until
        if windows < self.windows or last - since < self.steps:
            return None
        after = 0.0 if until < 0 else history.cumulated_update(until + 1)
        return (since, until) if history.cumulated_update(since) - after >= self.moved else None

    def _stays(self, history: History, site: str, values: Series, levels: Series, step: int) -> bool:
        """Return whether the mean over the windows up to a step is no lower than the level."""
        end = bisect_right(values.steps, step)
        recent = range(max(0, end - self.windows), end)
        steps = [values.steps[index] for index in recent]
        value, level = sum(map(values.value, recent)), sum(map(levels.at, steps))
        return value >= level - self.tolerance * (level - _floors(history, site, steps))

    def _guesses(self, history: History, site: str, since: int, until: int) -> bool:
        """Return whether its hits within the rest are those of always giving the most frequent label."""
        accuracy, rows = history.series(LOSS_ACCURACY, site), history.series(LOSS_ROWS, site)
        if not len(accuracy):
            return True
        last = accuracy.steps[-1] if until < 0 else until
        end = bisect_right(accuracy.steps, last)
        recent = [(s, accuracy.at(s)) for s in accuracy.steps[max(0, end - self.windows) : end] if s >= since]
        hits = sum(value * rows.at(step) for step, value in recent)
        answers = sum(rows.at(step) for step, _ in recent)
        largest, candidates = history.series(LOSS_LARGEST_LABEL, site), history.series(LOSS_CANDIDATES, site)
        guess = largest.last if len(largest) else 1 / max(1.0, candidates.last)
        return answers > 0 and hits / answers <= guess + 3 * sqrt(guess * (1 - guess) / answers)

    def _verdict(self, history: History, site: str, since: int, until: int, other: str) -> Finding:
        value, level = history.series(LOSS_VALUE, site).last, history.series(LOSS_LEVEL, site).last
        share, answers = _share(history, site), history.series(LOSS_LARGEST_ANSWER, site)
        known = "the frequencies of its labels alone" if len(answers) else "knowing nothing"
        detail = f"{site} is {value:.4f}, where {known} would have {level:.4f}, since step {since}"
        if until >= 0:
            detail = f"{site} was what {known} would have until step {until}, and has learned since: {value:.4f}"
        elif len(answers) and answers.last > 0.99:
            detail += "; all samples are given the same class"
        if other and until < 0:
            detail += f"; {other} learns" + (f", and drowns it: it is {share:.2%} of the loss" if share < 0.01 else "")
        finding = self.finding(
            history, detail, site=site, since=since, severity=None if until < 0 else Severity.INFO,
            evidence={"value": value, "level": level, "share": share},
        )  # fmt: skip
        return replace(finding, fix=self._fix(history, site, drowned=bool(other) and share < 0.01))

    def _fix(self, history: History, site: str, *, drowned: bool) -> str:
        if drowned:
            return "Raise the weight of this term until it is at least some hundredths of the loss."
        task = task_of(history, site)
        if task is Task.GENERATION:
            return pairs_remedy(task)
        if task is Task.MATCHING:
            return (
                "Check that the pairs that the matching head sees are in the order of its labels, matches first where "
                "the labels say so, and that both sides of a pair reach the head."
            )
        return self.fix


def learning_term(history: History, site: str) -> str:
    """Return the path of another loss that has learned: a fifth below its level, or lower than at first; or empty."""
    for other in history.sites_of(LossSite):
        values, levels = history.series(LOSS_VALUE, other.path), history.series(LOSS_LEVEL, other.path)
        if other.path == site or len(values) < 8 or not len(history.series(LOSS_PART, other.path)):
            continue
        bound = levels.last if len(levels) else max(values.values[:4])
        if max(values.values[-4:]) <= 0.8 * bound:
            return other.path
    return ""


def _share(history: History, site: str) -> float:
    """Return the mean share of a term in the sum of the sizes of all terms, in the newest window."""
    step = history.series(LOSS_PART, site).steps[-1]
    parts = {path: abs(series.at(step)) for path, series in history.of(LOSS_PART) if series.steps[-1] >= step}
    whole = sum(parts.values())
    return parts[site] / whole if whole > 0 else 0.0


def _floors(history: History, site: str, steps: Iterable[int]) -> float:
    """Return the sum over steps of the least value that targets leave: the entropy of soft ones; 0 of others."""
    known, entropies = history.site(LossSite, site), history.series(LOSS_TARGET_ENTROPY, site)
    if known is None or known.is_sigmoid or not len(entropies):
        return 0.0
    smoothing = history.series(LOSS_LABEL_SMOOTHING, site)
    soft = (step for step in steps if not smoothing.at(step) > 0)
    return sum(entropy for step in soft if (entropy := entropies.at(step)) > 0)
