"""What an explanation says of the findings of a run, kept beside its record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """What replays say of a finding."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class FindingMark:
    """The mark of a finding.

    Attributes:
        code: of the finding.
        site: of the finding.
        mark: what the replays say.
        by: which change said so, with counts: ``learning rate x 0.1 cures (3/3)``.
    """

    code: str
    site: str
    mark: Mark
    by: str = ""
