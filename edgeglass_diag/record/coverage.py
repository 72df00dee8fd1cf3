"""What was not observed, and why: no blank panel without a reason."""

from __future__ import annotations

from torch import nn

from edgeglass_diag.record.compiled import INSIDE, is_compiled
from edgeglass_diag.record.session import Session

NOT_CALLED = "not called with gradients in the recorded windows"
NOT_HELD = "trainable, but held by no optimizer that has stepped"
NOT_HELD_WITH_GRADIENT = "trainable and given a gradient, but held by no optimizer that has stepped"
FROZEN = "frozen"


def note_unobserved(session: Session) -> None:
    """Give each module and trainable parameter of the models that nothing was heard of a reason.

    A module whose weights get gradients although only its parent is called, as the output projection of
    ``nn.MultiheadAttention``, serves its parent by its weights and is no place of its own.
    """
    for module in list(session.without_gradients):
        session.naming.path(module)
    session.without_gradients.clear()
    compiled = _compiled_paths(session)
    for path, module in session.naming.modules:
        if session.knows(path, "module"):
            continue
        inside = any(path == outer or path.startswith(f"{outer}." if outer else "") for outer in compiled)
        if inside:
            session.cannot_observe(path, "module", INSIDE)
        elif _can_be_called(module) and not _serves_by_weights(session, path, module):
            session.cannot_observe(path, "module", NOT_CALLED)
    for name, parameter in session.naming.named_parameters:
        if session.observed(name, "parameter"):
            continue
        if not parameter.requires_grad:
            session.cannot_observe(name, "parameter", FROZEN)
        elif not session.knows(name, "parameter") or session.status(name, "parameter") == NOT_HELD:
            session.cannot_observe(name, "parameter", NOT_HELD if parameter.grad is None else NOT_HELD_WITH_GRADIENT)


def _compiled_paths(session: Session) -> list[str]:
    return [path for path, module in session.naming.modules if is_compiled(module)]


def _serves_by_weights(session: Session, path: str, module: nn.Module) -> bool:
    if not session.observed(path.rpartition(".")[0], "module"):
        return False
    own = [name for name, _ in module.named_parameters(recurse=False)]
    return any(session.observed(f"{path}.{name}" if path else name, "parameter") for name in own)


def _can_be_called(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward
