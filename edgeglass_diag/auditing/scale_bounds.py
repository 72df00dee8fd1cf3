"""Losses that the logged logit scale or accuracy does not allow; cosines lie within -1 and 1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.contradictions import ABOVE_ACCURACY, SCALE_FLOOR
from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.auditing.weights import Mixture, of_table
from edgeglass_diag.measures.chance import chance_loss, contrastive_ceiling, contrastive_floor
from edgeglass_diag.rules.loss import LossBelowPossible

_LARGEST_LOG = math.log(100) + 0.01
"""Up to here a logged scale may be a logarithm, as CLIP's parameter is, which is clamped at ln 100."""


def scale_bounds(case: Case, made: Sequence[Mixture], *, batch: int | None, n: int | None) -> Iterator[Concluded]:
    """EG457 and EG458 for each contrastive loss, in its newest row that has the other column.

    The floor is that of EG402's share (a half), which leaves room for a short last batch; both bounds take the scale
    as a logarithm where it may be one, the weaker claim.

    Args:
        case: the history; nothing is said where a sigmoid loss is set.
        made: totals whose weights are known; a total of unknown weights is left out.
        batch: candidates of the losses.
        n: pairs, where known.
    """
    if batch is None or batch < 2 or "sigmoid" in str(dict(case.settings)).lower():
        return
    size = batch if n is None else max(2, min(batch, n))
    for series in case.of("loss"):
        weight = _weight(series, case, made)
        scale = _beside(series, case, "scale")
        if weight is None or scale is None or not series.role.contrastive or series.role.summary:
            continue
        yield from _below_floor(case, series, weight, scale, size)
        accuracy = _beside(series, case, "accuracy")
        if accuracy is not None and 0 <= accuracy <= 1:
            yield from _above_accuracy(case, series, weight, (scale, accuracy), batch)


def _weight(series: Series, case: Case, made: Sequence[Mixture]) -> float | None:
    """The sum of the weights of a loss, 1 for a single term; None for a total whose weights are not known."""
    if series.role.part:
        return 1.0
    mixture = of_table(made, series, series.table)
    if mixture is not None:
        return float(sum(mixture.weights))
    parts = [s for s in case.of("loss", split=series.role.split) if s.role.part]
    return None if parts else 1.0


def _beside(series: Series, case: Case, kind: str) -> float | None:
    """The newest value of another column in the newest row of a loss, of the same split where it has one."""
    for other in case.of(kind, part=""):
        rows = dict(zip(other.steps, other.values, strict=True))
        if other.table is series.table and other.role.split in ("", series.role.split) and series.last_step in rows:
            return rows[series.last_step]
    return None


def _largest(scale: float) -> float:
    return math.exp(scale) if scale <= _LARGEST_LOG else scale


def _below_floor(case: Case, series: Series, weight: float, scale: float, batch: int) -> Iterator[Concluded]:
    floor = weight * contrastive_floor(_largest(scale), batch)
    if series.last + series.open_by(series.last) < LossBelowPossible.share * floor:
        yield conclude(
            SCALE_FLOOR, case, series,
            f"{series.label} = {series.last:.4g}, but with a logit scale of {_largest(scale):.4g} a loss over {batch} "
            f"candidates cannot be below {floor:.4g}, whatever the embeddings",
            evidence={"value": series.last, "bound": floor, "scale": _largest(scale), "batch_size": batch,
                      "weight": weight},
            work=Work((f"ln(1 + {batch - 1} exp(-{_largest(scale):.6g} x {batch} / {batch - 1})) x {weight:g} = "
                       f"{floor:.6g} > {series.last:.6g} / {LossBelowPossible.share:g}",)),
        )  # fmt: skip


def _above_accuracy(
    case: Case, series: Series, weight: float, beside: tuple[float, float], batch: int
) -> Iterator[Concluded]:
    scale, accuracy = _largest(beside[0]), beside[1]
    ceiling = contrastive_ceiling(scale, batch)
    bound = weight * (accuracy * chance_loss(batch) + (1 - accuracy) * ceiling)
    if series.last - series.open_by(series.last) > bound:
        yield conclude(
            ABOVE_ACCURACY, case, series,
            f"{series.label} = {series.last:.4g}, but where {accuracy:.2%} are right among {batch} at a logit scale of "
            f"{scale:.4g} a loss cannot be above {bound:.4g}",
            evidence={"value": series.last, "bound": bound, "scale": scale, "accuracy": accuracy, "batch_size": batch,
                      "weight": weight},
            work=Work((f"({accuracy:.6g} ln {batch} + {1 - accuracy:.6g} x {ceiling:.6g}) x {weight:g} = {bound:.6g} < "
                       f"{series.last:.6g}",)),
        )  # fmt: skip
