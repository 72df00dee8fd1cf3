"""Readings of the targets of written losses, which the gradient that reaches their log-probabilities tells."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from edgeglass_diag.measures.contrast import some_rows
from edgeglass_diag.measures.labels import targets_of_gradient
from edgeglass_diag.record.log_probabilities import LogProbabilities
from edgeglass_diag.record.loss_readings import LossReadings
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.losses import LOSS_TARGET_ENTROPY, LOSS_VALUE
from edgeglass_diag.sites import Task

_ONE = 0.999
"""Part of a row's gradient from which on it is all of one class: float16 rounds by 5e-4."""


class WrittenTargets:
    """Writes value, level, answers and pairing of a written loss that is linear in its log-probabilities.

    Of a head its rows must all have the same weight, and one class each: else they are a policy's actions, whose
    weights are what they have earned, or something else that has no labels.

    Args:
        recording: state of the watch.
        readings: writes what all losses have in common.
    """

    def __init__(self, recording: Recording, readings: LossReadings) -> None:
        self._recording, self._readings = recording, readings

    def read(self, known: LogProbabilities, uniform: Tensor, gradient: Tensor) -> Tensor:
        """Write what the gradient tells, and return the level of chance: 0-d, NaN where it is no cross-entropy.

        Args:
            known: the log-probabilities.
            uniform: mean over rows of ln(candidates).
            gradient: that reaches them.
        """
        add = partial(self._recording.buffer.add, known.path)
        rows, logs = some_rows(known.rows), some_rows(known.laid_out(known.result.detach()))
        targets, weights = targets_of_gradient(some_rows(known.laid_out(gradient.detach())))
        counted, is_single = weights > 0, targets.amax(-1) > _ONE
        is_head = known.task is not Task.CONTRASTIVE
        if is_head:
            targets = torch.where(self._are_labels(weights, counted, is_single), targets, torch.nan)
        self._write_answers(known, rows, targets.argmax(-1), counted & (targets.amax(-1) > _ONE))
        values = torch.where(targets == 0, 0.0, targets * -logs).sum(-1)
        add(LOSS_VALUE, values.double().sum() / counted.sum())
        add(LOSS_TARGET_ENTROPY, torch.special.entr(targets.double()).sum() / counted.sum())
        spread = targets.argmax(-1) if is_head else targets.double() * (len(rows) / counted.sum())
        level = self._readings.level(known.path, rows, spread, counted, uniform, weight=None, smoothing=0.0)
        return torch.where(targets.isnan().any(), torch.nan, level)

    def _are_labels(self, weights: Tensor, counted: Tensor, is_single: Tensor) -> Tensor:
        """Return whether all rows that count weigh alike and are of one class each: 0-d."""
        most = weights.amax()
        least = torch.where(counted, weights, most).amin()
        return (is_single | ~counted).all() & (least >= _ONE * most)

    def _write_answers(self, known: LogProbabilities, rows: Tensor, labels: Tensor, counted: Tensor) -> None:
        given = torch.where(counted, labels, -1)
        self._readings.answers(known.path, rows, given, counted)
        if known.task is not Task.CONTRASTIVE:
            self._readings.labels(known.path, labels, counted)
        elif len(rows) == len(known.rows):
            self._readings.pairing(known.logits, rows, given)
