"""Gives each module that was not observed the reason why."""

from __future__ import annotations

from torch import nn

from edgeglass_diag import site_paths
from edgeglass_diag.record.attention import site_of
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.module_tree import forward_of, is_compiled, own_parameters
from edgeglass_diag.record.observer import Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.unobserved_attention import attends
from edgeglass_diag.sites import Coverage, Kind, ModuleSite

_WINDOWS = 4
"""Recorded windows after which reasons are noted; every window would cost a walk over all modules."""


class CoverageObserver(Observer):
    """Notes a reason for each module of the models that was not observed.

    Args:
        recording: state of the watch.
        modules: knows which modules were called without gradients.
    """

    def __init__(self, recording: Recording, modules: ModuleSiteObserver) -> None:
        self._recording, self._modules = recording, modules
        self._windows = 0

    def window_ends(self) -> None:
        """Note what was not observed in the first windows."""
        if self._windows == _WINDOWS:
            return
        self._windows += 1
        self._modules.name_evaluated()
        self._note_modules()

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
                self._note_compiled(path, module)
            elif _can_be_called(module) and not self._serves_by_weights(path, module):
                if self._recording.clock.has_run_compiled:
                    self._note_compiled(path, module)
                else:
                    sites.cannot_observe(ModuleSite(path=path), Coverage.NOT_CALLED)

    def _note_compiled(self, path: str, module: nn.Module) -> None:
        sites, own = self._recording.sites, site_paths.child(path, "attention")
        sites.cannot_observe(ModuleSite(path=path), Coverage.COMPILED)
        if attends(module) and not sites.has_site(own, Kind.ATTENTION):
            sites.cannot_observe(site_of(path, own), Coverage.COMPILED_ATTENTION)

    def _serves_by_weights(self, path: str, module: nn.Module) -> bool:
        sites = self._recording.sites
        if not sites.is_observed(site_paths.parent(path), Kind.MODULE):
            return False
        own = own_parameters(module)
        return any(sites.is_observed(site_paths.child(path, name), Kind.PARAMETER) for name in own)


def _can_be_called(module: nn.Module) -> bool:
    return forward_of(module) is not nn.Module.forward
