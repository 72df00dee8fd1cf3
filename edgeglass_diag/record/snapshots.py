"""Keeps the embeddings of some pairs at a few steps of a run, for pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeglass_diag.record import buffer

PAIRS = 256

MARKS = (0, 10, 20, 50, 100, 200, 500, 1000, 3000, 10_000, 30_000, 100_000)
"""Embeddings are kept at the first recorded step at or after each of these, and of the last recorded step."""


@dataclass(frozen=True, slots=True)
class PendingEmbeddings:
    """Both sides of a batch on their way to the host; ``resolve`` is for the thread that writes."""

    step: int
    shape: torch.Size
    pack: Tensor
    ready: tuple[torch.Event, ...]

    def resolve(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Image and text embeddings, (pairs, dims) each."""
        for event in self.ready:
            event.synchronize()
        image, text = self.pack.reshape(self.shape).numpy()
        return image, text


class Snapshots:
    """Hands the embeddings of a recorded window on where a mark is due, and those of the last one at the end.

    Only one copy of the newest is held on the device: 8 bytes x pairs x dims.
    """

    def __init__(self, sink: Callable[[PendingEmbeddings], None] | None) -> None:
        self._sink = sink
        self._marks = list(MARKS)
        self._newest: tuple[int, Tensor] | None = None

    def note(self, step: int, pairs: Tensor | None) -> None:
        """Remember the embeddings of a window, (2, pairs, dims): image first."""
        if pairs is not None and self._sink is not None:
            self._newest = step, pairs

    def hand_over(self, *, last: bool = False) -> None:
        """Give the newest to the sink if a mark has been reached, or if nothing comes after it."""
        if self._newest is None or self._sink is None:
            return
        step, pairs = self._newest
        if not last and (not self._marks or step < self._marks[0]):
            return
        self._marks = [mark for mark in self._marks if mark > step]
        self._newest = None
        ready: list[torch.Event] = []
        pack = buffer.to_host([pairs], ready)
        self._sink(PendingEmbeddings(step, pairs.shape, pack, tuple(ready)))


def pairs_of(image: Tensor, text: Tensor) -> Tensor:
    """The first pairs of a batch in one tensor of its own, (2, pairs, dims) float32."""
    return torch.stack([image[:PAIRS].float(), text[:PAIRS].float()])
