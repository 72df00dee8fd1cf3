"""What rules of attention have in common."""

from __future__ import annotations

from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.site_paths import first_call, parent


@dataclass(frozen=True)
class AttentionRule(Rule):
    """A rule that finds its fault at an attention, and whose cures are made at the module that computes it."""

    @classmethod
    def place_of(cls, cure: Intervention, finding: Finding) -> str:
        """Return the path of that module; empty where it is the whole model."""
        return parent(first_call(finding.focus or finding.site))
