"""Observes how many different samples the loader brings, known by their fingerprints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgeglass_diag.measures.batches import joint_fingerprints, repeated
from edgeglass_diag.record.batches import BatchObserver
from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.batches import DATA_COPIES, DATA_DRAWN, DATA_NEW
from edgeglass_diag.sites import Kind

_ROWS, _KNOWN = 1024, 2**16
"""Samples of a batch that are looked at, and different ones that are remembered: half a megabyte and some."""


class SampleObserver(Observer):
    """Writes ``data/drawn``, ``data/copies`` and ``data/new``.

    A sample is one row of all that models are called with up to the first backward pass of the window: the same picture
    with another caption is another sample, and so is one whose augmentation has changed a pixel. Where inputs have
    different numbers of rows it is not known what a sample is, and nothing is written.

    Args:
        recording: state of the watch.
        batches: knows the fingerprints of the rows.
    """

    def __init__(self, recording: Recording, batches: BatchObserver) -> None:
        self._recording, self._batches = recording, batches
        self._seen = SeenSamples()
        self._written = False

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Count the samples of the first pass of the window."""
        inputs = self._batches.take_rows()
        alike = len({(len(rows), rows.device) for rows in inputs}) == 1
        if self._written or not alike:
            return
        self._written = True
        with self._recording.measuring("", Kind.BATCH):
            rows = joint_fingerprints([rows[:_ROWS] for rows in inputs])
            add = self._recording.buffer.add
            add("", DATA_DRAWN, float(len(rows)))
            add("", DATA_COPIES, repeated(rows))
            self._recording.buffer.defer("", DATA_NEW, (rows >> 11).double(), self._seen.count)

    def forget(self) -> None:
        """Begin a window anew."""
        self._written = False


class SeenSamples:
    """The fingerprints of the samples seen so far, as the writing thread knows them."""

    def __init__(self) -> None:
        self._known: set[float] = set()

    def count(self, rows: Tensor) -> Tensor:
        """Return how many different rows were never seen before, NaN when there are too many to remember.

        Args:
            rows: fingerprints (B,) on the host.
        """
        if len(self._known) >= _KNOWN:
            return torch.tensor(math.nan)
        new = set(rows.tolist()) - self._known
        self._known |= new
        return torch.tensor(float(len(new)))
