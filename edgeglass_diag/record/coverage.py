"""Gives each module and parameter that was not observed the reason why."""

from __future__ import annotations

from torch import nn

from edgeglass_diag import site_paths
from edgeglass_diag.record.compiled import is_compiled
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.module_tree import own_parameters
from edgeglass_diag.record.observer import Observer, OptimizerStep
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.sites import Coverage, Kind, ModuleSite, ParameterSite

_NOT_HELD = (None, Coverage.NOT_HELD)
"""Parameters of which nothing else is known: held by no optimizer that has stepped."""


_WINDOWS = 4
"""Recorded windows after which reasons are noted; every window would cost a walk over all modules."""


class CoverageObserver(Observer):
    """Notes a reason for each module and parameter of the models that was not observed.

    Args:
        recording: state of the watch.
        modules: knows which modules were called without gradients.
    """

    def __init__(self, recording: Recording, modules: ModuleSiteObserver) -> None:
        self._recording, self._modules = recording, modules
        self._windows = 0

    def before_step(self, step: OptimizerStep) -> None:
        """Note parameters that an optimizer holds and that have no gradient."""
        for parameter in step.held:
            if parameter.grad is None:
                trained = parameter.requires_grad
                coverage = Coverage.HELD_WITHOUT_GRADIENT if trained else Coverage.HELD_FROZEN
                path = self._recording.naming.parameter(parameter)
                self._recording.sites.cannot_observe(ParameterSite(path=path), coverage)

    def window_ends(self) -> None:
        """Note what was not observed in the first windows."""
        if self._windows == _WINDOWS:
            return
        self._windows += 1
        for module, _ in self._modules.without_gradients.items():
            self._recording.naming.path(module)
        self._modules.without_gradients.clear()
        self._note_modules()
        self._note_parameters()

    def _note_modules(self) -> None:
        """Note modules that were not called.

        A module whose weights get gradients although only its parent is called, as the output projection of
        ``nn.MultiheadAttention``, serves its parent by its weights and is no site of its own.
        """
        if not self._recording.clock.is_whole:  # what comes after the part that was recorded may have been called
            return
        sites, modules = self._recording.sites, self._recording.naming.modules
        compiled = [path for path, module in modules if is_compiled(module)]
        for path, module in modules:
            if sites.has_site(path, Kind.MODULE):
                continue
            if any(site_paths.is_within(path, outer) for outer in compiled):
                sites.cannot_observe(ModuleSite(path=path), Coverage.COMPILED)
            elif _can_be_called(module) and not self._serves_by_weights(path, module):
                sites.cannot_observe(ModuleSite(path=path), Coverage.NOT_CALLED)

    def _note_parameters(self) -> None:
        sites = self._recording.sites
        for path, parameter in self._recording.naming.named_parameters:
            known = sites.coverage(path, Kind.PARAMETER)
            if known is Coverage.OBSERVED:
                continue
            if not parameter.requires_grad:
                sites.cannot_observe(ParameterSite(path=path), Coverage.FROZEN)
            elif known in _NOT_HELD:
                reached = parameter.grad is not None
                coverage = Coverage.NOT_HELD_WITH_GRADIENT if reached else Coverage.NOT_HELD
                sites.cannot_observe(ParameterSite(path=path), coverage)

    def _serves_by_weights(self, path: str, module: nn.Module) -> bool:
        sites = self._recording.sites
        if not sites.is_observed(site_paths.parent(path), Kind.MODULE):
            return False
        own = own_parameters(module)
        return any(sites.is_observed(site_paths.child(path, name), Kind.PARAMETER) for name in own)


def _can_be_called(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward
