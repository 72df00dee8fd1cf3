"""Observes along which dimension recurrent and attention modules of torch read their sequences."""

from __future__ import annotations

from torch import Tensor, nn

from edgeglass_diag.record.given_batches import GivenBatches
from edgeglass_diag.record.module_tree import forward_of
from edgeglass_diag.record.observer import ModuleCall, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.batches import MODULE_ALONG_SAMPLES

_READERS = (nn.RNNBase, nn.MultiheadAttention)


class SequenceAxisObserver(Observer):
    """Records of modules without ``batch_first`` whether their sequence is as long as the model's batch.

    Args:
        recording: state of the watch.
        batches: what the model is given.
    """

    def __init__(self, recording: Recording, batches: GivenBatches) -> None:
        self._recording, self._batches = recording, batches

    def module_ends(self, call: ModuleCall) -> None:
        """Record the size of a batch along which a module reads, 0 where it reads along something else."""
        module = call.frame.module
        if not isinstance(module, _READERS) or module.batch_first or not _reads_as_torch(module):
            return
        read = call.arguments[0] if call.arguments else call.keywords.get("query", call.keywords.get("input"))
        if isinstance(read, Tensor) and not read.is_nested and read.dim() == 3:
            steps, samples = read.shape[:2]
            sizes = self._batches.sizes  # of a multiple of them the samples are views
            is_along = steps in sizes and samples not in sizes and samples > 1 and samples % steps != 0
            self._recording.buffer.add(call.frame.path, MODULE_ALONG_SAMPLES, float(steps if is_along else 0))


def _reads_as_torch(module: nn.Module) -> bool:
    """Return whether a module has torch's own ``forward``; a user's may turn what it is given before it reads it."""
    return str(getattr(forward_of(module), "__module__", "")).startswith("torch.nn.")
