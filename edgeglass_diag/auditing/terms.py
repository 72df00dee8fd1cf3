"""Terms of a loss that stay where they are while others fall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeglass_diag.auditing.conclusion import Concluded, conclude
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.trainings import TERM_CONSTANT
from edgeglass_diag.auditing.trend import middle, thirds
from edgeglass_diag.records import Severity

STILL = 0.01
FALLS = 0.2
ROWS = 6
_PENALTIES = {
    "aux", "auxiliary", "balance", "balancing", "load", "router", "z", "reg", "regularization", "regularisation", "l1",
    "l2", "decay", "penalty", "orthogonal", "entropy",
}  # fmt: skip
"""Words of terms that may rest at their least value from the beginning, as the load balance of experts does at 1."""


def constant_terms(case: Case) -> Iterator[Concluded]:
    """EG460: a term varies by less than 1 % of itself over all rows, while another loss of the split falls by a fifth.

    A term that is 0 throughout was never computed or has weight 0, which EG450 says.
    """
    for series in case.of("loss"):
        if not series.role.part or series.role.summary or len(series.finite) < ROWS:
            continue
        values = [v for _, v in series.finite]
        level = abs(float(np.mean(values)))
        first, _, last = thirds(values)
        if level == 0 or float(np.std(values)) > STILL * level or abs(last - first) > STILL * level:
            continue
        if series.tolerance > STILL * level:  # too few digits
            continue
        other = _falling(case, series)
        if other is None:
            continue
        penalty = bool(_PENALTIES & set(series.role.part.split()))
        yield conclude(
            TERM_CONSTANT, case, series,
            f"{series.label} is {np.mean(values):.4g} +- {np.std(values):.1g} in all {len(values)} rows, while "
            f"{other.label} falls from {other.finite[0][1]:.4g} to {other.finite[-1][1]:.4g}",
            severity=Severity.INFO if penalty else None,
            evidence={"value": float(np.mean(values)), "deviation": float(np.std(values)), "rows": len(values)},
        )  # fmt: skip


def _falling(case: Case, series: Series) -> Series | None:
    for other in case.of("loss", split=series.role.split):
        values = [v for _, v in other.finite]
        if other is series or len(values) < ROWS or other.role.summary:
            continue
        first, last = middle(values[:3]), middle(values[-3:])
        if first > 0 and last < (1 - FALLS) * first:
            return other
    return None
