"""EG419: labels that never vary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, isnan, log

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.loss import guessing
from edgeglass_diag.rules.patience import patience
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.losses import (
    LOSS_CANDIDATES,
    LOSS_LABEL_GREATEST,
    LOSS_LABEL_MEAN,
    LOSS_LABELS_DIAGONAL,
    LOSS_ROWS,
    LOSS_TARGET_ENTROPY,
    LOSS_VALUE,
)
from edgeglass_diag.signals.pairings import PAIRING_LABELLED
from edgeglass_diag.sites import LossSite, Task


@dataclass(frozen=True)
class LabelsConstant(Rule):
    """All rows of all batches have the same label.

    Why: a classifier learns to give that class whatever it is shown, its loss falls to 0 within some steps and its
    accuracy is 1. Nothing of the samples is needed for it.

    Formula: the mean number of the labelled class is its greatest one, and the same in every recorded window so far,
    over at least ``steps`` steps, ``windows`` windows and ``rows`` rows, of which the others are then less than 3 /
    rows with 95 % confidence; ten times as many rows where there are two classes, which may be as rare as that.
    Losses over as many classes are judged together: those of a discriminator have a label each.

    Or all pairs that sigmoid losses take, of products of embeddings, have the same label in every recorded window, over
    as many steps, windows and rows: where all are pairs nothing is pushed apart, and where none is nothing is drawn
    together. The sigmoid losses of a step are judged together, as the words and the noise of a skip-gram are.

    Or the softmax over a batch with a batch is given labels of which several rows have the same in each recorded
    window, so that they are no pairing, and exactly one row has its own, as it is with random labels in 0.37 of the
    windows, not in ``contrasts`` of them. A warning, when the training ends or has had the time to begin
    (``patience``), and the answers are then those of guessing: rows whose partner is in the first column by design, as
    where it is put before the strangers, are learned.
    """

    rows: int = 300
    steps: int = 20
    windows: int = 5
    contrasts: int = 10

    code = "EG419"
    name = "labels-constant"
    title = "All labels are the same"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_LABEL_GREATEST, LOSS_LABEL_MEAN, LOSS_TARGET_ENTROPY)
    source = "derived: rule of three, Hanley & Lippman-Hand, JAMA 1983: nothing in n is less than 3 / n at 95 %"
    fix = "Look at how labels are read and batched: a column that is never filled, zeros_like, or data sorted by class."
    faulty = "labels = torch.zeros_like(labels)"
    healthy = "labels as they are in the data set"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each loss whose labels never vary."""
        yield from self._classes(history)
        yield from self._pairs(history)
        yield from self._contrasts(history)

    def _classes(self, history: History) -> Iterable[Finding]:
        alike: defaultdict[int, list[str]] = defaultdict(list)
        for site, _ in history.of(LOSS_LABEL_GREATEST):
            alike[round(history.series(LOSS_CANDIDATES, site).last)].append(site)
        for classes, sites in alike.items():
            label = history.series(LOSS_LABEL_GREATEST, sites[0]).first
            if classes < 2 or not all(self._is_constant(history, site, label) for site in sites):
                continue
            for site in sites:
                seen = history.series(LOSS_LABEL_GREATEST, site)
                rows = sum(history.series(LOSS_ROWS, site).values)
                if self._enough(seen, rows, 10 if classes == 2 else 1):
                    yield self.finding(
                        history,
                        f"all {rows:.0f} rows that {site} took in {len(seen)} recorded windows are labelled "
                        f"{label:.0f}, of {classes} classes; its loss is {history.series(LOSS_VALUE, site).last:.3g}",
                        site=site,
                        since=seen.steps[0],
                        evidence={"label": label, "rows": rows, "classes": classes},
                    )

    def _pairs(self, history: History) -> Iterable[Finding]:
        """Return one finding for each sigmoid loss that is given pairs alone, or strangers alone."""
        sites = [s.path for s in history.sites_of(LossSite) if s.is_sigmoid and s.task is Task.CONTRASTIVE]
        matches = [history.series(LOSS_TARGET_ENTROPY, site) for site in sites]
        for side, said, fix in ((_all_match, "pairs", _NOTHING_APART), (_none_match, "strangers", _NOTHING_TOGETHER)):
            conditions = [side(history.series(LOSS_CANDIDATES, site)) for site in sites]
            states = [series.streak(one) for series, one in zip(matches, conditions, strict=True)]
            if not all(s is not None and s.windows == len(seen) for s, seen in zip(states, matches, strict=True)):
                continue
            for site, seen in zip(sites, matches, strict=True):
                rows = sum(history.series(LOSS_ROWS, site).values)
                if self._enough(seen, rows, 1):
                    yield self.finding(
                        history,
                        f"all combinations of the {rows:.0f} rows that {site} took in {len(seen)} recorded windows are "
                        f"labelled as {said}; its loss is {history.series(LOSS_VALUE, site).last:.3g}",
                        site=site,
                        since=seen.steps[0],
                        evidence={"label": said, "rows": rows},
                        fix=fix,
                    )

    def _contrasts(self, history: History) -> Iterable[Finding]:
        """Return one finding for each softmax over the batch of which all rows are told the same partner."""
        pairings = [series for _, series in history.of(PAIRING_LABELLED)]
        over = history.ended or history.last_step >= patience(history)
        if not over or not pairings or not all(map(isnan, (v for series in pairings for v in series.values))):
            return
        for site, diagonal in history.of(LOSS_LABELS_DIAGONAL):
            rows = history.series(LOSS_ROWS, site)
            one = all(abs(share * rows.at(step) - 1) < 1e-6 for step, share in diagonal.since(0))
            enough = len(diagonal) >= self.contrasts and self._enough(diagonal, sum(rows.values), 1)
            if one and enough and guessing(history, history.last_step // 2):
                yield self.finding(
                    history,
                    f"of the {rows.last:.0f} rows that {site} takes exactly one has the label of its own place in each "
                    f"of {len(diagonal)} recorded windows, and several have the same",
                    site=site,
                    severity=Severity.WARNING,
                    since=diagonal.steps[0],
                    evidence={"diagonal": diagonal.last, "rows": sum(rows.values)},
                    fix=_ONE_PARTNER,
                )

    def _enough(self, seen: Series, rows: float, times: int) -> bool:
        """Return whether labels have been seen for long enough, of enough rows."""
        lasting = len(seen) >= self.windows and seen.steps[-1] - seen.steps[0] >= self.steps
        return lasting and rows >= self.rows * times

    def _is_constant(self, history: History, site: str, label: float) -> bool:
        """Return whether all labels of a loss have always been this one."""
        greatest, mean = history.series(LOSS_LABEL_GREATEST, site), history.series(LOSS_LABEL_MEAN, site)
        always = [series.streak(lambda _, value: value == label) for series in (greatest, mean)]
        return all(s is not None and s.windows == len(greatest) for s in always)


_ONE_PARTNER = "Use labels = torch.arange(len(logits)): row i belongs to column i."
_NOTHING_APART = "Label the other combinations of the batch as strangers: labels = 2 * torch.eye(B) - 1."
_NOTHING_TOGETHER = "Label the pairs of the batch as such: labels = 2 * torch.eye(B) - 1, or targets of torch.eye(B)."


def _all_match(candidates: Series) -> Callable[[int, float], bool]:
    """Return the condition that all combinations are pairs, on ln of how many pairs a row has."""
    return lambda step, matches: matches >= log(max(candidates.at(step), 2.0)) - 1e-6


def _none_match(candidates: Series) -> Callable[[int, float], bool]:
    return lambda step, matches: matches == -inf
