"""Observes the outputs of modules: keeps samples and makes the statistics of many of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.measures.activations import ActivationSample, activation_statistics, sample_activation
from edgeglass_diag.record.embeddings import EmbeddingObserver
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.record.observer import ModuleCall, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_measurable
from edgeglass_diag.signals import family
from edgeglass_diag.signals.activations import PRECISION_FLOAT16
from edgeglass_diag.sites import Kind

_SIGNALS = family("activation")

_KEPT = 2**23
"""Entries held at most (32 MiB): a window of many forward passes is reduced in parts."""


class ActivationObserver(Observer):
    """Writes ``activation/*``: some twenty small kernels for all outputs of a kind instead of for each.

    Args:
        recording: state of the watch.
        embeddings: knows how many samples the last contrastive loss had.
    """

    def __init__(self, recording: Recording, embeddings: EmbeddingObserver) -> None:
        self._recording, self._embeddings = recording, embeddings
        self._waiting: dict[Hashable, list[tuple[str, ActivationSample]]] = {}
        self._entries = 0
        self._samples = 0
        self._is_half: Counter[bool] = Counter()

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Note the number of samples of a forward pass: called by keyword the outermost module does not tell."""
        if len(self._recording.stack.frames) == 1:
            self._samples = 0
        self._samples = self._samples or _samples(arguments, self._embeddings.rows)

    def module_ends(self, call: ModuleCall) -> None:
        """Keep a sample of the first output that no module inside has made."""
        if not call.fresh:
            return
        path, tensor = call.frame.path, call.fresh[0]
        with self._recording.measuring(path, Kind.MODULE):
            if not is_measurable(tensor):
                return
            self._is_half[tensor.dtype == torch.float16] += 1
            axes = range(min(2, tensor.dim())) if self._samples > 1 else ()
            self._keep(path, tensor, next((axis for axis in axes if tensor.shape[axis] == self._samples), None))

    def window_ends(self) -> None:
        """Write the statistics; none of a window that was cut short, whose loss they would not belong to."""
        if self._recording.clock.is_whole:
            self._reduce()
        if self._is_half[True]:
            self._recording.buffer.add("", PRECISION_FLOAT16, self._is_half[True] / self._is_half.total())

    def forget(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._entries = 0
        self._is_half.clear()

    def _keep(self, path: str, values: Tensor, batch_axis: int | None) -> None:
        sample = sample_activation(values, batch_axis)
        self._waiting.setdefault(sample.kind, []).append((path, sample))
        self._entries += sample.part.numel()
        if self._entries > _KEPT:
            self._reduce()

    def _reduce(self) -> None:
        add_each = self._recording.buffer.add_each
        for group in self._waiting.values():
            with self._recording.measuring(group[0][0], Kind.MODULE):
                paths = [path for path, _ in group]
                for name, values in activation_statistics([sample for _, sample in group])._asdict().items():
                    if values is not None:
                        add_each(paths, _SIGNALS[name], values)
        self._waiting.clear()
        self._entries = 0


def _samples(arguments: tuple[Any, ...], rows: int) -> int:
    """Return the number of samples: that of the last contrastive loss where a tensor has it, else the first axis."""
    shapes = [tensor.shape for tensor in tensors_in(arguments) if tensor.dim() > 0 and not tensor.is_nested]
    if rows and any(rows in shape[:2] for shape in shapes):
        return rows
    return int(shapes[0][0]) if shapes else 0
