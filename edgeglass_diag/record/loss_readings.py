"""What the observers of losses have in common: readings of logits, answers and weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from edgeglass_diag.measures.contrast import accuracy, logit_statistics, some_rows, valid_logits
from edgeglass_diag.measures.labels import entropy_of_shares, label_shares
from edgeglass_diag.record.backward_state import BackwardState
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
    LOSS_LABEL_GREATEST,
    LOSS_LABEL_MEAN,
    LOSS_LABELS_DIAGONAL,
    LOSS_LARGEST_ANSWER,
    LOSS_LARGEST_LABEL,
    LOSS_LEVEL,
    LOSS_PART,
    LOSS_ROWS,
    LOSS_WEIGHT,
    LOSS_WIDTH,
)
from edgeglass_diag.sites import Kind

_SIGNALS = family("loss")

_ROWS = 8
"""Rows a class from which on frequencies are told: the entropy of C frequencies among n is (C - 1) / (2 n) too low in
the mean, here 1/16 (Miller 1955, Note on the bias of information estimates)."""


def as_rows(logits: Tensor) -> Tensor:
    """Return (N, C) and (N, C, ...) as rows of C logits each; (C,) as one row."""
    if logits.dim() > 2:
        return logits.movedim(1, -1).reshape(-1, logits.shape[1])
    return logits.reshape(-1, logits.shape[-1])


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

    def logits(
        self, path: str, logits: Tensor, rows: Tensor, count: Tensor | int, *, with_candidates: bool = True
    ) -> Tensor:
        """Write what the logits tell, and return the mean over rows of ln(candidates): 0-d.

        Args:
            path: of the loss.
            logits: as the loss function takes them.
            rows: (N, C), the same laid out as rows of candidates.
            count: number of rows that count.
            with_candidates: whether a row chooses among all of its entries that are not masked out.
        """
        add = partial(self._recording.buffer.add, path)
        part = some_rows(rows)
        values = part if part.dtype == torch.float64 else part.float()
        valid = valid_logits(values)
        candidates = valid.sum(-1).double()
        if with_candidates:
            add(LOSS_ROWS, count)
            add(LOSS_CANDIDATES, candidates.mean())
        for name, value in logit_statistics(values, valid)._asdict().items():
            add(_SIGNALS[name], value)
        self._embeddings.reached(logits)
        return candidates.log().mean()

    def of_pair(self, logits: Tensor, value: Tensor) -> None:
        """Write the mean value of a loss at the pair of embeddings whose logits it takes, as of one width of several.

        Args:
            logits: as the loss function takes them.
            value: mean over rows, 0-d.
        """
        product = self._recording.sources.product(logits)
        pair = None if product is None else self._embeddings.pair_paths.get(product.key)
        if pair is not None:
            self._recording.buffer.add(pair, LOSS_WIDTH, value)

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
            own = counted & (indices == torch.arange(len(indices), device=indices.device))
            diagonal = torch.where(counted.any(), own.double().mean(), torch.nan)
            self._recording.buffer.add(path, LOSS_LABELS_DIAGONAL, diagonal)

    def labels(self, path: str, labels: Tensor, counted: Tensor) -> None:
        """Write which class rows are labelled with: mean and greatest number, which are equal where all are of one.

        Args:
            path: of the loss.
            labels: (N,) numbers of classes.
            counted: (N,) whether a row counts.
        """
        add, own = partial(self._recording.buffer.add, path), torch.where(counted, labels, 0)
        add(LOSS_LABEL_MEAN, own.sum().double() / counted.sum())
        add(LOSS_LABEL_GREATEST, own.amax().double())

    def pairing(self, logits: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Write whether another pairing of the batch is more alike than the labelled one.

        Args:
            logits: as the loss function takes them.
            rows: (N, C), the same laid out as rows of candidates.
            labels: (N,) right answers, negative where a row does not count.
        """
        self._embeddings.labelled(logits, rows, labels)

    def level(
        self,
        path: str,
        rows: Tensor,
        target: Tensor,
        counted: Tensor,
        uniform: Tensor,
        *,
        weight: Tensor | None,
        smoothing: float,
    ) -> Tensor:
        """Write, and return, what a model that knows but the labels' own frequencies would have for a loss: 0-d.

        Args:
            path: of the loss.
            rows: (N, C) logits.
            target: N class indices, or N distributions over classes laid out as the logits were.
            counted: (N,) whether a row counts.
            uniform: mean of ln(candidates), which holds where N is less than ``_ROWS`` x C.
            weight: (C,) how much a row of each class counts.
            smoothing: of the labels.
        """
        add, (count, classes) = partial(self._recording.buffer.add, path), rows.shape
        level = uniform
        if count >= _ROWS * classes and classes > 1:
            if target.is_floating_point():
                shares = as_rows(target.detach()).double().mean(0)
            else:
                shares = label_shares(target.detach().reshape(-1), counted, classes, weight)
            level = torch.minimum(uniform, entropy_of_shares(shares, smoothing))
            answers = label_shares(some_rows(rows).argmax(-1), some_rows(counted.unsqueeze(1)).squeeze(1), classes)
            add(LOSS_LARGEST_LABEL, shares.amax())
            add(LOSS_LARGEST_ANSWER, answers.amax())
        add(LOSS_LEVEL, level)
        return level

    def two_classes(self, path: str, logits: Tensor, rows: Tensor, targets: Tensor) -> None:
        """Write what single logits tell: two classes, of which one has the logit 0.

        Args:
            path: of the loss.
            logits: as the loss function takes them.
            rows: (N, 1) logits.
            targets: (N, 1) shares of the positive class.
        """
        add, given, right = partial(self._recording.buffer.add, path), rows > 0, targets > 0.5
        self.logits(path, logits, torch.cat([torch.zeros_like(rows), rows], 1), len(rows))
        add(LOSS_ACCURACY, (given == right).double().mean())
        self.labels(path, right.reshape(-1).long(), torch.ones_like(right).reshape(-1))
        for signal, classes in ((LOSS_LARGEST_LABEL, right), (LOSS_LARGEST_ANSWER, given)):
            share = classes.double().mean()
            add(signal, torch.maximum(share, 1 - share))

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

    def follow(self, path: str, result: Tensor, level: Callable[[Tensor], ChanceLevel] | None = None) -> None:
        """Read the weight of a loss off the gradient that reaches its result.

        Args:
            path: of the loss.
            result: of the loss function.
            level: what it would be where nothing is known, by the gradient that reaches it; None where no one can say.
        """
        if result.requires_grad:
            self._passes.knows_loss = True
            # A copy of a number: `loss /= k` would change it too.
            value = result.detach().clone() if result.numel() == 1 else result.detach()
            result.register_hook(partial(self._weigh, path, value, level))

    @entry("losses", always=True)  # a thread of the device, which is not the one that is watched
    def _weigh(self, path: str, value: Tensor, level: Callable[[Tensor], ChanceLevel] | None, gradient: Tensor) -> None:
        if not self._backward.is_running or self.boundary.clock.is_forked or is_foreign(gradient):
            return  # a gradient taken aside by torch.autograd.grad
        with self._recording.measuring(path, Kind.LOSS):
            weight, add = self._scale.unscaled(gradient.detach().double()), self._passes.add
            part = (weight * value.double()).sum()
            add(path, LOSS_PART, part)
            if level is not None:
                known = level(gradient)
                chance = (weight * known.entry).sum()
                add(path, LOSS_WEIGHT, chance / known.row)
                add("", LOSS_CHANCE, chance)
                add("", LOSS_EXPLAINED, part)
