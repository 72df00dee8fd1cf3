"""Keeps the embeddings of some pairs at a few steps of a run, for pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeglass_diag.pair_samples import PairSamples
from edgeglass_diag.record import buffer
from edgeglass_diag.record.embeddings import EmbeddingObserver
from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.pair_inputs import PairInputObserver, PendingSamples, to_host
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.sites import Kind

MARKS = (0, 10, 20, 50, 100, 200, 500, 1000, 3000, 10_000, 30_000, 100_000)
"""Embeddings are kept at the first recorded step at or after each of these, and of the last recorded step."""


@dataclass(frozen=True, slots=True)
class PendingEmbeddings:
    """Both sides of a batch on their way to the host; ``resolve`` is for the thread that writes."""

    step: int
    shape: torch.Size
    pack: Tensor
    ready: tuple[torch.Event, ...]
    samples: PendingSamples | None = None

    def resolve(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return image and text embeddings, (pairs, dims) each."""
        for event in self.ready:
            event.synchronize()
        image, text = self.pack.reshape(self.shape).numpy()
        return image, text

    def resolve_samples(self) -> PairSamples | None:
        """Return pictures and captions of the pairs, None where none are wanted."""
        for event in self.ready:
            event.synchronize()
        return None if self.samples is None else self.samples.resolve()


class SnapshotObserver(Observer):
    """Hands the embeddings of a recorded window on where a mark is due, and those of the last one at the end.

    Only one copy of the newest is held on the device: 8 bytes x pairs x dims, and at most 3 MB of pictures.

    Args:
        recording: state of the watch.
        embeddings: knows the pairs of the window.
        inputs: knows what they were made of.
        sink: takes embeddings; none are kept where None.
    """

    def __init__(
        self,
        recording: Recording,
        embeddings: EmbeddingObserver,
        inputs: PairInputObserver,
        sink: Callable[[PendingEmbeddings], None] | None,
    ) -> None:
        self._recording, self._embeddings, self._inputs, self._sink = recording, embeddings, inputs, sink
        self._marks = list(MARKS)
        self._newest: tuple[int, Tensor, PendingSamples | None] | None = None

    def window_ends(self) -> None:
        """Remember the embeddings of the window."""
        pairs = self._embeddings.pairs
        if pairs is not None and self._sink is not None:
            samples = None
            with self._recording.measuring("samples", Kind.RECORDER):
                samples = self._inputs.take(self._embeddings.pair_rows)
            self._newest = self._recording.clock.step, pairs, samples

    def hand_over(self, *, last: bool = False) -> None:
        """Give the newest to the sink if a mark has been reached, or if nothing comes after it."""
        if self._newest is None or self._sink is None:
            return
        step, pairs, samples = self._newest
        if not last and (not self._marks or step < self._marks[0]):
            return
        self._marks = [mark for mark in self._marks if mark > step]
        self._newest = None
        ready: list[torch.Event] = []
        pack = buffer.to_host([pairs], ready)
        if samples is not None:
            samples = to_host(samples, ready)
        self._sink(PendingEmbeddings(step, pairs.shape, pack, tuple(ready), samples))
