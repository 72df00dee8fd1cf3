"""Readings of pairings: whether another fixed pairing of the batch is more alike than the one that a loss is told."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from edgeglass_diag.measures.contrast import cosines
from edgeglass_diag.measures.pairings import pairing_statistics
from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.pairings import (
    PAIRING_ADVANTAGE,
    PAIRING_DISTANCE,
    PAIRING_LABELLED,
    PAIRING_NUMBER,
    PAIRING_OTHER,
)
from edgeglass_diag.sites import Kind

_LEAST, _MOST = 16, 512
"""Rows of a batch in which pairings are told apart, and of which all pairings are looked at."""


class PairingReadings:
    """Writes ``pairing/*``.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def labelled(self, pair: str, comparison: Comparison, logits: Tensor, labels: Tensor) -> None:
        """Write how alike the labelled candidates are, where the logits are a comparison of a batch with a batch.

        Args:
            pair: path of the pair of sides.
            comparison: that the logits were made from.
            logits: (N, C).
            labels: (N,) columns.
        """
        left, right = comparison.left, comparison.right
        rows, columns = len(left), len(right)
        without_self = comparison.is_of_itself and logits.shape == (rows, columns - 1)
        if (without_self or logits.shape in ((rows, columns), (columns, rows))) and len(logits) <= logits.shape[1] + 1:
            sides = (left, right) if len(labels) == rows else (right, left)
            self._write(pair, logits, labels, without_self=without_self, sides=sides)

    def partners(self, pair: str, comparison: Comparison) -> None:
        """Write how alike the rows are that a loss draws together, row i of both sides."""
        left, right = comparison.left[:_MOST].float(), comparison.right[:_MOST].float()
        labels = torch.arange(len(left), device=left.device)
        self._write(pair, cosines(left, right), labels, without_self=False)

    def _write(
        self,
        pair: str,
        similarities: Tensor,
        labels: Tensor,
        *,
        without_self: bool,
        sides: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        if not _LEAST <= len(similarities) <= similarities.shape[1] + without_self <= 2 * _MOST:
            return
        with self._recording.measuring(pair, Kind.PAIR):
            own = torch.arange(len(labels), device=labels.device)
            given = labels.clamp(min=0)
            partners = given + (given >= own).long() if without_self else given
            ordered = partners.sort().values
            is_pairing = (labels >= 0).all() & (ordered.diff() != 0).all()  # as labels of classes are none
            found = pairing_statistics(similarities.float(), given, without_self=without_self)
            signals = (PAIRING_LABELLED, PAIRING_OTHER, PAIRING_ADVANTAGE, PAIRING_NUMBER)
            for signal, value in zip(signals, found, strict=True):
                self._recording.buffer.add(pair, signal, torch.where(is_pairing, value.float(), torch.nan))
            if sides is not None:
                distance = _labelled_over_strangers(*sides, partners)
                self._recording.buffer.add(pair, PAIRING_DISTANCE, torch.where(is_pairing, distance, torch.nan))


def _labelled_over_strangers(left: Tensor, right: Tensor, partners: Tensor) -> Tensor:
    """Return the mean squared distance of normalised rows (N, D) and partners among (C, D), over that of strangers."""
    own, other = normalize(left.float(), dim=-1), normalize(right.float(), dim=-1)
    of_partners = (own - other[partners]).square().sum(-1).mean()
    return of_partners / (2 - 2 * (own.mean(0) @ other.mean(0)))
