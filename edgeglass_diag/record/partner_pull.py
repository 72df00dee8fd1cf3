"""Whether a loss draws the rows that it compares together or drives them apart, read off its gradient."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from edgeglass_diag.compared import Compared
from edgeglass_diag.record.backward_state import BackwardState
from edgeglass_diag.record.boundary import entry
from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign
from edgeglass_diag.signals.embeddings import EMBEDDING_PULL
from edgeglass_diag.sites import Kind


class PartnerPull:
    """Writes the share of partners that a loss draws together, of comparisons of which it is known what does so.

    Args:
        recording: state of the watch.
        backward: whether a backward pass is running.
    """

    def __init__(self, recording: Recording, backward: BackwardState) -> None:
        self.boundary = recording.boundary
        self._recording, self._backward = recording, backward
        self._paths: dict[int, str] = {}

    def follow(self, result: Tensor, comparison: Comparison) -> None:
        """Look at the gradient that will reach the result of a comparison of partners."""
        by_rows = comparison.compared in (Compared.SIMILARITY, Compared.DISTANCE)
        if comparison.drawn and comparison.is_paired and by_rows and result.requires_grad:
            # At the node, as a tensor's hooks are the user's to see; no embeddings are kept with a loss that is.
            node = result.grad_fn
            if node is not None:
                node.register_prehook(partial(self._pulled, id(comparison), comparison.drawn, result.output_nr))

    def name(self, comparison: Comparison, path: str) -> None:
        """Say of which pair a comparison is that goes backward, and that is kept until the window ends."""
        self._paths[id(comparison)] = path

    def forget(self) -> None:
        """Forget the comparisons of the window."""
        self._paths.clear()

    @entry("comparisons", always=True)  # a thread of the device, which is not the one that is watched
    def _pulled(self, comparison: int, drawn: int, place: int, gradients: tuple[Tensor | None, ...]) -> None:
        path, gradient = self._paths.get(comparison), gradients[place]
        if path is None or gradient is None or is_foreign(gradient):
            return
        if not self._backward.is_running or self.boundary.clock.is_forked:
            return
        with self._recording.measuring(path, Kind.PAIR):
            share = (gradient * drawn > 0).sum().double() / (gradient != 0).sum()
            self._recording.buffer.add(path, EMBEDDING_PULL, share)
