"""All that the audit alone concludes."""

from __future__ import annotations

from edgeglass_diag.auditing.contradictions import CONTRADICTIONS
from edgeglass_diag.auditing.trainings import TRAININGS

CONCLUSIONS = (*CONTRADICTIONS, *TRAININGS)
"""By code and name each is there once."""
