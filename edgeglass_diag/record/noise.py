"""Dropout where none belongs: in an evaluation, or inside of a frozen encoder."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from edgeglass_diag.measures.batches import row_fingerprints
from edgeglass_diag.record.lineage import tensors_in
from edgeglass_diag.record.session import Frame, Session
from edgeglass_diag.record.shards import is_measurable, local_part

EVALUATED = "without gradients"
FROZEN = "although all its weights are frozen"

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Noise:
    """Notes dropout that is on, and what tells an evaluation and a frozen encoder from what resembles them.

    ``noise/unrepeated`` is the share of samples of a pass without gradients that do not come again with gradients in
    the same window: gradient caching runs all of a batch twice. ``noise/weights`` is the sum of a frozen module's
    weights, which a momentum teacher's moves.

    Args:
        session: state of the watch.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._passes: list[tuple[str, nn.Module, Tensor]] = []
        self._noted: Frame | None = None
        self._again: WeakKeyDictionary[nn.Module, list[Tensor]] = WeakKeyDictionary()

    def enter(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """A module is called, the outermost one or one inside of it; called by keyword it does not tell with what."""
        if outermost.first is not None:
            return
        outermost.first = next((t for t in tensors_in(arguments) if t.dim() > 1 and is_measurable(t)), None)
        if outermost.first is not None and outermost.active and outermost.module in self._again:
            with self._session.measuring("", "noise", outermost.first):
                self._again[outermost.module].append(row_fingerprints(outermost.first.detach()))

    def note(self, module: nn.Module, stack: list[Frame]) -> None:
        """A module runs, the last of the stack; frozen counts the innermost one around it that has parameters."""
        if not isinstance(module, _DROPOUTS) or not module.training or not module.p:
            return
        outermost = stack[0]
        owner = next((f.module for f in reversed(stack[:-1]) if next(f.module.parameters(), None) is not None), None)
        if owner is not None and not any(p.requires_grad for p in owner.parameters()):
            self._frozen(owner)
        elif not outermost.active and outermost is not self._noted and not _is_differentiated():
            self._noted = outermost
            self._evaluated(outermost)

    def _frozen(self, owner: nn.Module) -> None:
        session, site = self._session, self._session.naming.path(owner)
        session.see(site, "noise", label=FROZEN)
        weight = max(owner.parameters(), key=torch.numel)
        with session.measuring(site, "noise", weight):
            session.buffer.add(site, "noise/weights", local_part(weight.detach()).sum(dtype=torch.float64))

    def _evaluated(self, outermost: Frame) -> None:
        session, site = self._session, self._session.naming.path(outermost.module)
        session.see(site, "noise", label=EVALUATED)
        if outermost.first is not None:
            with session.measuring(site, "noise", outermost.first):
                self._passes.append((site, outermost.module, row_fingerprints(outermost.first.detach())))
                self._again.setdefault(outermost.module, [])

    def end_window(self, *, whole: bool) -> None:
        """Write which samples did not come again; nothing where not all passes of the window were seen."""
        for site, module, rows in self._passes if whole else ():
            again = self._again.get(module, [])
            alone = ~torch.isin(rows, torch.cat(again)) if again else torch.ones_like(rows)
            self._session.buffer.add(site, "noise/unrepeated", alone.double().mean())
        self._passes.clear()
        self._again.clear()
        self._noted = None


def _is_differentiated() -> bool:
    """Whether this runs inside of an autograd function, as a checkpoint, whose backward runs it again."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        first = frame.f_code.co_varnames[:1]
        if first and isinstance(frame.f_locals.get(first[0]), FunctionCtx):
            return True
        frame = frame.f_back
    return False
