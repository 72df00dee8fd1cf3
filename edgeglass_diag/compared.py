"""How a loss compares embeddings."""

from __future__ import annotations

from enum import StrEnum


class Compared(StrEnum):
    """How a loss compares a set of embeddings with another.

    Attributes:
        LOGITS: their products are the logits of a loss that chooses among candidates.
        SIMILARITY: by cosines or products otherwise, as SimSiam, BYOL and hand-written contrasts do.
        DISTANCE: by distances, as triplets, regression and distillation of features do.
        FEATURES: by the correlations of their dimensions over the batch, as Barlow Twins does.
        ASSIGNMENT: as distributions over prototypes or classes, as DINO and SwAV do.
    """

    LOGITS = "logits"
    SIMILARITY = "similarity"
    DISTANCE = "distance"
    FEATURES = "features"
    ASSIGNMENT = "assignment"
