"""How a training went, by its logged numbers: all that is looked for, and what follows from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeglass_diag.auditing.conclusion import Concluded
from edgeglass_diag.auditing.descent import at_guessing, diverges, overfits
from edgeglass_diag.auditing.logged import Case
from edgeglass_diag.auditing.majority import at_majority
from edgeglass_diag.auditing.rates import restart_steps, zero_rate
from edgeglass_diag.auditing.resumption import resumed
from edgeglass_diag.auditing.speed import slows_down
from edgeglass_diag.auditing.spikes import gradient_spikes, nan_tolerated
from edgeglass_diag.auditing.terms import constant_terms
from edgeglass_diag.auditing.tied_recalls import recall_growth

_BRINGS = {
    "EG451": ("EG255",),
    "EG462": ("EG255", "EG401"),
    "EG608": ("EG255", "EG462"),
    "EG610": ("EG601", "EG301", "EG401", "EG255", "EG462"),
    "EG254": ("EG204",),
    "EG463": ("EG255", "EG204", "EG256"),
}
"""Codes of the faults that bring another, the most direct first."""


def judged_trainings(case: Case) -> list[Concluded]:
    """Return what is concluded of the course of a training."""
    return [
        *zero_rate(case), *diverges(case, restart_steps(case)), *overfits(case), *at_guessing(case), *resumed(case),
        *gradient_spikes(case), *nan_tolerated(case), *constant_terms(case), *at_majority(case), *slows_down(case),
        *recall_growth(case),
    ]  # fmt: skip


def nested(found: Sequence[Concluded]) -> list[Concluded]:
    """Return conclusions with what they follow from, among those that are there."""
    codes = {one.finding.code for one in found}
    return [_because(one, next((c for c in _BRINGS.get(one.finding.code, ()) if c in codes), None)) for one in found]


def _because(one: Concluded, cause: str | None) -> Concluded:
    if cause is None or one.finding.because_of is not None:
        return one
    return replace(one, finding=replace(one.finding, because_of=cause))
