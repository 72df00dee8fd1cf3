"""All cases of the bench."""

from __future__ import annotations

from edgeglass_models.faults import feeding, healthy, judging, looking, losing, numbers, optimising, starts
from edgeglass_models.faults.case import Case

_FAMILIES = (starts, optimising, losing, feeding, looking, judging, numbers)


def all_cases() -> list[Case]:
    """Faults by family, then the healthy variants."""
    return [case for family in (*_FAMILIES, healthy) for case in family.cases.all]
