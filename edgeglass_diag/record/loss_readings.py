"""What the observers of losses have in common: readings of logits, answers and weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from edgeglass_diag.measures.contrast import accuracy, logit_statistics, some_rows, valid_logits
from edgeglass_diag.record.backward_patch import BackwardState
from edgeglass_diag.record.boundary import entry
from edgeglass_diag.record.embeddings import EmbeddingObserver
from edgeglass_diag.record.loss_passes import LossPasses
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.scaling import LossScaleObserver
from edgeglass_diag.record.shards import is_foreign
from edgeglass_diag.signals import family
from edgeglass_diag.signals.losses import (
    LOSS_ACCURACY,
    LOSS_CANDIDATES,
    LOSS_CHANCE,
    LOSS_EXPLAINED,
    LOSS_LABELS_DIAGONAL,
    LOSS_ROWS,
    LOSS_WEIGHT,
)
from edgeglass_diag.sites import Kind

_SIGNALS = family("loss")


@dataclass(frozen=True, slots=True)
class ChanceLevel:
    """What a loss function returns where nothing is known.

    Attributes:
        entry: for one entry of its result.
        row: for a row of logits.
    """

    entry: float | Tensor
    row: float | Tensor


class LossReadings:
    """Writes ``loss/*`` of one loss function.

    The weight of each loss function in the whole loss is read off the gradient that reaches its result, so that
    the chance level of the whole, the sum of weight x chance level of each, needs no knowledge of the training
    code.

    Args:
        recording: state of the watch.
        embeddings: measures what is behind the logits that a loss takes.
        passes: takes what gradients tell.
        scale: takes the factor of mixed precision off a gradient.
        backward: whether a backward pass is running.
    """

    def __init__(
        self,
        recording: Recording,
        embeddings: EmbeddingObserver,
        passes: LossPasses,
        scale: LossScaleObserver,
        backward: BackwardState,
    ) -> None:
        self.boundary = recording.boundary
        self._recording, self._embeddings, self._passes = recording, embeddings, passes
        self._scale, self._backward = scale, backward

    def logits(self, path: str, logits: Tensor, rows: Tensor, count: Tensor | int) -> Tensor:
        """Write what the logits tell, and return the mean over rows of ln(candidates): 0-d.

        Args:
            path: of the loss.
            logits: as the loss function takes them.
            rows: (N, C), the same laid out as rows of candidates.
            count: number of rows that count.
        """
        add = partial(self._recording.buffer.add, path)
        part = some_rows(rows)
        values = part if part.dtype == torch.float64 else part.float()
        valid = valid_logits(values)
        candidates = valid.sum(-1).double()
        add(LOSS_ROWS, count)
        add(LOSS_CANDIDATES, candidates.mean())
        for name, value in logit_statistics(values, valid)._asdict().items():
            add(_SIGNALS[name], value)
        self._embeddings.reached(logits)
        return candidates.log().mean()

    def answers(self, path: str, rows: Tensor, indices: Tensor, counted: Tensor) -> None:
        """Write how often the largest logit is the right one.

        Args:
            path: of the loss.
            rows: (N, C) logits.
            indices: (N,) right answers.
            counted: (N,) whether a row counts.
        """
        part = some_rows(rows)
        step = math.ceil(len(rows) / len(part))
        self._recording.buffer.add(path, LOSS_ACCURACY, accuracy(part, indices[::step], counted[::step]))
        if len(rows) == rows.shape[1]:
            diagonal = (indices == torch.arange(len(indices), device=indices.device)).double().mean()
            self._recording.buffer.add(path, LOSS_LABELS_DIAGONAL, diagonal)

    def pairing(self, logits: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Write whether another pairing of the batch is more alike than the labelled one.

        Args:
            logits: as the loss function takes them.
            rows: (N, C), the same laid out as rows of candidates.
            labels: (N,) right answers, negative where a row does not count.
        """
        self._embeddings.labelled(logits, rows, labels)

    def matches(self, path: str, logits: Tensor, positives: Tensor) -> None:
        """Write the same for a square of pairs, of whose rows each that has exactly one match answers.

        Args:
            path: of the loss.
            logits: (N, C).
            positives: (N, C) whether a combination is a match.
        """
        if logits.shape[0] != logits.shape[1]:
            return
        part = some_rows(logits)
        step = math.ceil(len(logits) / len(part))
        has_match = positives[::step].sum(-1) == 1
        match = positives[::step].double().argmax(-1)
        self._recording.buffer.add(path, LOSS_ACCURACY, accuracy(part, match, has_match))
        own = torch.arange(0, len(logits), step, device=match.device)
        diagonal = (has_match & (match == own)).sum().double() / has_match.sum()
        self._recording.buffer.add(path, LOSS_LABELS_DIAGONAL, diagonal)

    def follow(self, path: str, result: Tensor, level: Callable[[], ChanceLevel]) -> None:
        """Read the weight of a loss off the gradient that reaches its result."""
        if result.requires_grad:
            # A copy of a number: `loss /= k` would change it too.
            value = result.detach().clone() if result.numel() == 1 else result.detach()
            result.register_hook(partial(self._weigh, path, value, level))

    @entry("losses", always=True)  # a thread of the device, which is not the one that is watched
    def _weigh(self, path: str, value: Tensor, level: Callable[[], ChanceLevel], gradient: Tensor) -> None:
        if not self._backward.is_running or self.boundary.clock.is_forked or is_foreign(gradient):
            return  # a gradient taken aside by torch.autograd.grad
        with self._recording.measuring(path, Kind.LOSS):
            weight = self._scale.unscaled(gradient.detach().double())
            known = level()
            chance = (weight * known.entry).sum()
            add = self._passes.add
            add(path, LOSS_WEIGHT, chance / known.row)
            add("", LOSS_CHANCE, chance)
            add("", LOSS_EXPLAINED, (weight * value.double()).sum())
