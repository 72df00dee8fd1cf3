"""EG419: labels that never vary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.losses import (
    LOSS_CANDIDATES,
    LOSS_LABEL_GREATEST,
    LOSS_LABEL_MEAN,
    LOSS_ROWS,
    LOSS_VALUE,
)


@dataclass(frozen=True)
class LabelsConstant(Rule):
    """All rows of all batches have the same label.

    Why: a classifier learns to give that class whatever it is shown, its loss falls to 0 within some steps and its
    accuracy is 1. Nothing of the samples is needed for it.

    Formula: the mean number of the labelled class is its greatest one, and the same in every recorded window so far,
    over at least ``steps`` steps, ``windows`` windows and ``rows`` rows, of which the others are then less than 3 /
    rows with 95 % confidence; ten times as many rows where there are two classes, which may be as rare as that.
    Losses over as many classes are judged together: those of a discriminator have a label each.
    """

    rows: int = 300
    steps: int = 20
    windows: int = 5

    code = "EG419"
    name = "labels-constant"
    title = "All labels are the same"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_LABEL_GREATEST, LOSS_LABEL_MEAN)
    source = "derived: rule of three, Hanley & Lippman-Hand, JAMA 1983: nothing in n is less than 3 / n at 95 %"
    fix = "Look at how labels are read and batched: a column that is never filled, zeros_like, or data sorted by class."
    faulty = "labels = torch.zeros_like(labels)"
    healthy = "labels as they are in the data set"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each loss whose labels never vary."""
        alike: defaultdict[int, list[str]] = defaultdict(list)
        for site, _ in history.of(LOSS_LABEL_GREATEST):
            alike[round(history.series(LOSS_CANDIDATES, site).last)].append(site)
        for classes, sites in alike.items():
            label = history.series(LOSS_LABEL_GREATEST, sites[0]).values[0]
            if classes < 2 or not all(self._is_constant(history, site, label) for site in sites):
                continue
            for site in sites:
                seen = history.series(LOSS_LABEL_GREATEST, site)
                rows = sum(history.series(LOSS_ROWS, site).values)
                enough = rows >= self.rows * (10 if classes == 2 else 1)
                if enough and len(seen) >= self.windows and seen.steps[-1] - seen.steps[0] >= self.steps:
                    yield self.finding(
                        history,
                        f"all {rows:.0f} rows that {site} took in {len(seen)} recorded windows are labelled "
                        f"{label:.0f}, of {classes} classes; its loss is {history.series(LOSS_VALUE, site).last:.3g}",
                        site=site,
                        since=seen.steps[0],
                        evidence={"label": label, "rows": rows, "classes": classes},
                    )

    def _is_constant(self, history: History, site: str, label: float) -> bool:
        """Return whether all labels of a loss have always been this one."""
        greatest, mean = history.series(LOSS_LABEL_GREATEST, site), history.series(LOSS_LABEL_MEAN, site)
        always = [series.streak(lambda _, value: value == label) for series in (greatest, mean)]
        return all(s is not None and s.windows == len(greatest) for s in always)
