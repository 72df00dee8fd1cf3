"""All cases of the bench."""

from __future__ import annotations

from edgeglass_models.faults import (
    attention,
    data,
    evaluation,
    healthy_models,
    healthy_training,
    init,
    loss,
    optimization,
    precision,
)
from edgeglass_models.faults.case import Case

_FAMILIES = (init, optimization, loss, data, attention, evaluation, precision, healthy_models, healthy_training)


def all_cases() -> list[Case]:
    """Return the faults by family, then the healthy variants."""
    return [case for family in _FAMILIES for case in family.cases.all]
