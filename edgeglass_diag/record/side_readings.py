"""Readings of one side of what a loss compares."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor
from torch.nn.functional import normalize

from edgeglass_diag.measures.assignments import assignment_information, prototypes_in_use
from edgeglass_diag.measures.geometry import (
    between_sample_variance_ratio,
    gram,
    mean_cosine,
    rank_of_gram,
    spread,
)
from edgeglass_diag.measures.targets import range_excess, unit_excess
from edgeglass_diag.record.comparison import OutputRange
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_ASSIGNMENT,
    EMBEDDING_COLUMN_ERROR,
    EMBEDDING_EFFECTIVE_RANK,
    EMBEDDING_MARGIN,
    EMBEDDING_MEAN_COSINE,
    EMBEDDING_NORM,
    EMBEDDING_NORM_SPREAD,
    EMBEDDING_PROTOTYPES,
    EMBEDDING_RANGE_EXCESS,
    EMBEDDING_SAMPLE_SIGNAL,
    EMBEDDING_SPREAD,
)

_RANKED = 4096
"""Dimensions of which an effective rank is told: those of images would cost more than the model."""


class SideReadings:
    """Writes ``embedding/*`` of the rows of one side.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._buffer = recording.buffer

    def of_logits(self, path: str, values: Tensor) -> None:
        """Write what matters of embeddings (B, D) whose products are logits."""
        add = partial(self._buffer.add, path)
        lengths = values.norm(dim=-1)
        add(EMBEDDING_NORM_SPREAD, lengths.std(correction=0) / lengths.mean())
        add(EMBEDDING_COLUMN_ERROR, (values.norm(dim=0) - 1).abs().amax())
        self.of_rows(path, values)

    def of_rows(self, path: str, values: Tensor) -> None:
        """Write how far the rows of (B, D) lie from one another."""
        add = partial(self._buffer.add, path)
        add(EMBEDDING_NORM, values.norm(dim=-1).mean())
        add(EMBEDDING_SAMPLE_SIGNAL, between_sample_variance_ratio(normalize(values, dim=-1)))
        add(EMBEDDING_MEAN_COSINE, mean_cosine(values))
        add(EMBEDDING_SPREAD, spread(values))

    def rank(self, path: str, values: Tensor) -> None:
        """Write the effective rank of (B, D), which the writing thread computes."""
        if values.shape[1] <= _RANKED:
            self._buffer.defer(path, EMBEDDING_EFFECTIVE_RANK, gram(values), rank_of_gram)

    def of_assignments(self, path: str, values: Tensor) -> None:
        """Write what distributions (B, K) over prototypes tell of the samples."""
        self._buffer.add(path, EMBEDDING_PROTOTYPES, prototypes_in_use(values))
        self._buffer.add(path, EMBEDDING_ASSIGNMENT, assignment_information(values))

    def margin(self, path: str, margin: float) -> None:
        """Write the margin of the loss that compares this side with another; nothing where none is known."""
        if math.isfinite(margin):
            self._buffer.add(path, EMBEDDING_MARGIN, margin)

    def excess(self, path: str, known: OutputRange | None, targets: Tensor) -> None:
        """Write how far the targets (B, D) of outputs of a known range lie beyond it; nothing where none is known."""
        if known is not None:
            excess = unit_excess(targets) if known.is_unit else range_excess(targets, known.low, known.high)
            self._buffer.add(path, EMBEDDING_RANGE_EXCESS, excess)
