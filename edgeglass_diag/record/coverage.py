"""Gives each module and parameter that was not observed the reason why."""

from __future__ import annotations

from torch import nn

from edgeglass_diag import site_paths
from edgeglass_diag.record.compiled import is_compiled
from edgeglass_diag.record.session import Session
from edgeglass_diag.sites import Coverage, Kind, ModuleSite, ParameterSite

_NOT_HELD = (None, Coverage.NOT_HELD)
"""Parameters of which nothing else is known: held by no optimizer that has stepped."""


def note_unobserved(session: Session) -> None:
    """Note a reason for each module and parameter of the models that was not observed.

    A module whose weights get gradients although only its parent is called, as the output projection of
    ``nn.MultiheadAttention``, serves its parent by its weights and is no site of its own.
    """
    for module in list(session.without_gradients):
        session.naming.path(module)
    session.without_gradients.clear()
    sites = session.sites
    compiled = [path for path, module in session.naming.modules if is_compiled(module)]
    for path, module in session.naming.modules:
        if sites.has_site(path, Kind.MODULE):
            continue
        if any(site_paths.is_within(path, outer) for outer in compiled):
            sites.cannot_observe(ModuleSite(path=path), Coverage.COMPILED)
        elif _can_be_called(module) and not _serves_by_weights(session, path, module):
            sites.cannot_observe(ModuleSite(path=path), Coverage.NOT_CALLED)
    for path, parameter in session.naming.named_parameters:
        known = sites.coverage(path, Kind.PARAMETER)
        if known is Coverage.OBSERVED:
            continue
        if not parameter.requires_grad:
            sites.cannot_observe(ParameterSite(path=path), Coverage.FROZEN)
        elif known in _NOT_HELD:
            reached = parameter.grad is not None
            coverage = Coverage.NOT_HELD_WITH_GRADIENT if reached else Coverage.NOT_HELD
            sites.cannot_observe(ParameterSite(path=path), coverage)


def _serves_by_weights(session: Session, path: str, module: nn.Module) -> bool:
    if not session.sites.is_observed(site_paths.parent(path), Kind.MODULE):
        return False
    own = [name for name, _ in module.named_parameters(recurse=False)]
    return any(session.sites.is_observed(site_paths.child(path, name), Kind.PARAMETER) for name in own)


def _can_be_called(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward
