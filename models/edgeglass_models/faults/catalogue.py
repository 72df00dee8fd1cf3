"""All cases of the bench."""

from __future__ import annotations

from edgeglass_models.faults import (
    feeding,
    healthy_models,
    healthy_training,
    judging,
    looking,
    losing,
    numbers,
    optimising,
    starts,
)
from edgeglass_models.faults.case import Case

_FAMILIES = (starts, optimising, losing, feeding, looking, judging, numbers, healthy_models, healthy_training)


def all_cases() -> list[Case]:
    """Faults by family, then the healthy variants."""
    return [case for family in _FAMILIES for case in family.cases.all]
