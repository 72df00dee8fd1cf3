"""Observes why modules get no gradient: what they give goes into no loss, or their gradients are switched off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from edgeglass_diag import site_paths
from edgeglass_diag.record.derivations import Origin, behind
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.observer import ModuleCall, Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.parameters import MODULE_GRADIENTS_OFF, MODULE_IN_LOSS


class LossOriginObserver(Observer):
    """Writes ``module/in_loss`` for modules with a parameter that an optimizer holds and that has no gradient.

    The way from the loss back is gone function by function, whether they had gradients or not. What is not met on it is
    said not to be in the loss only where the weights that have gradients are all met: functions that torch does not
    tell of, as those of ``autograd.Function``, would leave a gap.

    Of the same modules it writes ``module/gradients_off``: whether they were only called where gradients are switched
    off, as under ``torch.no_grad``, which somebody has written down.

    Args:
        recording: state of the watch.
        modules: knows which modules ran.
    """

    def __init__(self, recording: Recording, modules: ModuleSiteObserver) -> None:
        self._recording, self._modules = recording, modules
        self._losses: list[Origin] = []
        self._learning: set[str] = set()
        self._without: set[str] = set()
        self._graded: set[str] = set()

    def module_ends(self, call: ModuleCall) -> None:
        """Note which modules are called with gradients."""
        if self._recording.boundary.gradients:
            self._graded.add(site_paths.first_call(call.frame.path))

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Keep what went into a loss."""
        self._losses += (o for tensor in tensors if (o := self._recording.sources.origin(tensor)) is not None)

    def before_step(self, step: OptimizerStep) -> None:
        """Note which modules have parameters with a gradient, and which without."""
        moving = {id(parameter) for parameter in step.moving}
        self._learning |= self._holding(step.moving)
        self._without |= self._holding(p for p in step.held if id(p) not in moving and p.requires_grad)

    def window_ends(self) -> None:
        """Write of each module without gradients that ran how it was called, and whether it is met."""
        called = {site_paths.first_call(path) for path in self._modules.parents}
        asked = sorted(path for path in (self._without - self._learning) & called if path)
        for path in asked:
            self._recording.buffer.add(path, MODULE_GRADIENTS_OFF, float(path not in self._graded))
        if not asked or not self._losses:
            return
        met = _sites(self._losses)
        complete = met.issuperset(self._learning & called)
        for path in asked:
            if complete or path in met:
                self._recording.buffer.add(path, MODULE_IN_LOSS, float(path in met))

    def forget(self) -> None:
        """Release the losses."""
        self._losses.clear()
        self._learning, self._without, self._graded = set(), set(), set()

    def _holding(self, held: Iterable[Tensor]) -> set[str]:
        return set(map(site_paths.parent, self._recording.naming.paths_of(held)))


def _sites(losses: Iterable[Origin]) -> set[str]:
    """Return the modules that went into losses, and those around them."""
    found = {""}
    for origin in behind(losses):
        path = site_paths.first_call(origin.site)
        while path not in found:
            found.add(path)
            path = site_paths.parent(path)
    return found
