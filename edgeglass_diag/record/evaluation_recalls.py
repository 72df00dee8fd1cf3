"""Follows products of embeddings in an evaluation, and counts how often a row finds its partner in the batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgeglass_diag.measures.contrast import accuracy
from edgeglass_diag.measures.proportions import wilson_interval
from edgeglass_diag.record.buffer import WindowBuffer
from edgeglass_diag.record.embedding_sides import EmbeddingSides
from edgeglass_diag.record.embeddings import EmbeddingObserver, comparison_of
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.tensor_sources import Product
from edgeglass_diag.signals.evaluation import (
    EVALUATION_RECALL,
    EVALUATION_RECALL_CHANCE,
    EVALUATION_RECALL_HIGH,
    EVALUATION_RECALL_LOW,
    EVALUATION_RECALL_ROWS,
)

_MOST_ROWS = 4096
"""Rows of a batch of which all products are taken: 64 MiB of them in float32."""


@dataclass
class _Tally:
    """What one side was answered.

    Attributes:
        hits: rows that found their partner, of each batch: 0-d, NaN where rows have other partners.
        rows: of all batches.
    """

    hits: list[Tensor] = field(default_factory=list)
    rows: int = 0


class EvaluationEmbeddings(EmbeddingObserver):
    """Follows products that a loss takes as logits, and counts answers where row i of both sides are partners.

    Where labels say otherwise nothing is told. Only the recalls are measured: the embeddings themselves are those of
    the training but for the samples.

    Args:
        recording: of the evaluation.
        sides: names them.
    """

    def __init__(self, recording: Recording, sides: EmbeddingSides) -> None:
        super().__init__(recording, sides)
        self._tallies: dict[str, _Tally] = {}
        self._site_paths: dict[int, tuple[str, str]] = {}  # by the key of the product
        self._paired: dict[int, list[Tensor]] = {}  # whether labels are the diagonal, by the key of the product

    def labelled(self, logits: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Note whether row i and column i are partners."""
        product = self._recording.sources.product(logits)
        if product is not None:
            own = torch.arange(len(labels), device=labels.device)
            self._paired.setdefault(product.key, []).append(((labels == own) | (labels < 0)).all())

    def write(self, buffer: WindowBuffer) -> None:
        """Write recalls, what chance gives, and the interval."""
        for product in self._products.values():
            self._count(product)
        for path, tally in self._tallies.items():
            hits = torch.stack([hit.to(tally.hits[0].device) for hit in tally.hits]).sum()
            low, high = wilson_interval(hits, tally.rows)
            buffer.add(path, EVALUATION_RECALL, hits / tally.rows)
            buffer.add(path, EVALUATION_RECALL_LOW, low)
            buffer.add(path, EVALUATION_RECALL_HIGH, high)
            buffer.add(path, EVALUATION_RECALL_CHANCE, len(tally.hits) / tally.rows)
            buffer.add(path, EVALUATION_RECALL_ROWS, float(tally.rows))

    def forget(self) -> None:
        """Release the embeddings of the window."""
        super().forget()
        for known in (self._tallies, self._site_paths, self._paired):
            known.clear()

    def _measure(self, product: Product, *, first: bool) -> None:
        self._site_paths[product.key], _ = self._names(product, self._sides.of(comparison_of(product)))

    def _count(self, product: Product) -> None:
        left, right = product.left, product.right
        of_itself = comparison_of(product).is_of_itself
        if of_itself or left.shape != right.shape or not 1 < len(left) <= _MOST_ROWS:
            return
        logits = left.float() @ right.float().mT
        own = torch.arange(len(left), device=logits.device)
        paired = [each.to(logits.device) for each in self._paired.get(product.key, ())]
        for path, table in zip(self._site_paths[product.key], (logits, logits.mT), strict=True):
            hits = accuracy(table, own, torch.ones_like(own, dtype=torch.bool)) * len(own)
            if paired:
                hits = torch.where(torch.stack(paired).all(), hits, torch.nan)
            tally = self._tallies.setdefault(path, _Tally())
            tally.hits.append(hits)
            tally.rows += len(own)
