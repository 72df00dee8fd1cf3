"""Accuracy that is that of always the same answer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.descent import training_losses
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import MAJORITY
from edgeglass_diag.auditing.trend import course, middle, thirds

EVALUATIONS = 4
NEAR = 0.005
"""Share of the samples by which an accuracy may vary where a few answers differ."""
LEARNS = 0.1
"""Relative fall of the training loss from which on the model learns something, whatever its answers are."""
STILL = 0.02
CERTAIN = 0.9
ENTROPY = 0.05


def at_majority(case: Case) -> Iterator[Concluded]:
    """EG608: an accuracy below 1 never leaves where it began, and the training loss does not fall by a tenth.

    - Of an evaluation: it varies by half a percent of the samples at most, and half of its values are the same to all
      digits; or the loss does not fall by a fiftieth either and is not below the entropy of two classes of that
      frequency, which is the least that a constant answer costs.
    - Of training batches alone: it has no trend, and the loss is the entropy of two classes of that frequency.

    The training loss is compared from its second row on: to learn the frequencies is all that a constant answer can
    do, and takes a few steps.
    """
    for series in case.of("accuracy", summary=""):
        shares = [v for _, v in series.finite]
        if len(shares) < EVALUATIONS or not all(0 <= v <= 1 for v in shares) or not 0 < middle(shares) < 0.995:
            continue
        held_out = series.role.split in ("val", "test")
        words = _never_leaves(case, series) if held_out else _of_batches(case, series)
        if not words:
            continue
        value = middle([v for _, v in series.finite])
        yield conclude(
            MAJORITY, case, series,
            f"{series.label} is {value:.4g} in all {len(series.finite)} rows; {words}",
            evidence={"value": value, "rows": len(series.finite)},
            work=Work((f"from {min(v for _, v in series.finite):.6g} to {max(v for _, v in series.finite):.6g}",)),
        )  # fmt: skip
        return


def _never_leaves(case: Case, series: Series) -> str:
    values = [v for _, v in series.finite]
    if max(values) - min(values) > NEAR + 2 * series.tolerance or series.tolerance > NEAR:
        return ""
    losses = training_losses(case)
    if not losses:
        exact = max(values) == min(values) and series.tolerance <= 5e-4
        return "the same samples are right each time" if exact else ""
    loss = losses[0]
    found = [v for _, v in loss.finite][1:]
    if len(found) < 3:
        return ""
    first, _, last = thirds(found)
    share = middle(values)
    same = max(values.count(value) for value in set(values)) >= len(values) / 2 and series.tolerance <= 5e-4
    still = last >= (1 - STILL) * first and share <= CERTAIN and last >= (1 - ENTROPY) * _entropy(share)
    if first <= 0 or last < (1 - LEARNS) * first or not (same or still):
        return ""
    return f"{loss.label} goes from {first:.4g} to {last:.4g}"


def _of_batches(case: Case, series: Series) -> str:
    values = [v for _, v in series.finite]
    rows = course(*zip(*series.finite, strict=True))
    share = sum(values) / len(values)
    losses = training_losses(case)
    if len(values) < 8 or not losses or not share >= 0.5:
        return ""
    first, _, last = thirds(values)
    if abs(last - first) > max(4 * rows.noise / math.sqrt(len(values) / 3), NEAR):
        return ""
    loss = [v for _, v in losses[0].finite]
    if len(loss) < 8:
        return ""
    start, _, end = thirds(loss)
    entropy = _entropy(share)
    flat = abs(end - start) <= 0.03 * abs(start) and abs(end - entropy) <= ENTROPY * entropy
    return f"{losses[0].label} = {end:.4g} is the entropy of these frequencies, {entropy:.4g}" if flat else ""


def _entropy(share: float) -> float:
    """Return the entropy of two classes, one of which has this share, in nats."""
    return -share * math.log(share) - (1 - share) * math.log(1 - share)
