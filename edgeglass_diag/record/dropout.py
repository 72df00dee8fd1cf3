"""Observes dropout: how much it takes away, and where none belongs, in an evaluation or inside of a frozen encoder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from edgeglass_diag.measures.batches import row_fingerprints
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Frame, Session
from edgeglass_diag.record.shards import is_measurable, local_part
from edgeglass_diag.record.tensor_sources import tensors_in
from edgeglass_diag.signals.activations import DROPOUT_P, NOISE_UNREPEATED, NOISE_WEIGHTS
from edgeglass_diag.sites import DropoutPlace, DropoutSite, Kind

_OFF_UNLESS_TOLD: tuple[Function, ...] = (functional.alpha_dropout, functional.feature_alpha_dropout)
_DROPOUTS: tuple[Function, ...] = (
    functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d, *_OFF_UNLESS_TOLD,
    torch.dropout, torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout,
)  # fmt: skip
_LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_TABLES = (nn.Embedding, nn.EmbeddingBag)
"""Modules whose weights are features already."""


class DropoutTap:
    """Observers of dropout in all phases, and what tells an evaluation and a frozen encoder from what resembles them.

    ``dropout/p`` is the share that a dropout of a training forward pass takes away, at the module that asks for it.
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
        self._frozen: dict[nn.Module, bool] = {}
        self._encoders: dict[nn.Module, bool] = {}

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed, with and without gradients."""
        table: dict[Function, Observer] = dict.fromkeys(_DROPOUTS, self._dropout)
        return table | {functional.scaled_dot_product_attention: self._attention}

    def enter(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """A module is called, the outermost one or one inside of it; called by keyword it does not tell with what."""
        if outermost.first is not None:
            return
        outermost.first = next((t for t in tensors_in(arguments) if t.dim() > 1 and is_measurable(t)), None)
        if outermost.first is not None and outermost.active and outermost.module in self._again:
            with self._session.measuring("", Kind.DROPOUT, outermost.first):
                self._again[outermost.module].append(row_fingerprints(outermost.first.detach()))

    def end_window(self, *, whole: bool) -> None:
        """Write which samples did not come again; nothing where not all passes of the window were seen."""
        for site, module, rows in self._passes if whole else ():
            again = self._again.get(module, [])
            alone = ~torch.isin(rows, torch.cat(again)) if again else torch.ones_like(rows)
            self._session.buffer.add(site, NOISE_UNREPEATED, alone.double().mean())
        self._passes.clear()
        self._again.clear()
        self._frozen.clear()
        self._encoders.clear()
        self._noted = None

    def _dropout(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
        on = given.get("training", given.get("train", func not in _OFF_UNLESS_TOLD))
        self._note(float(given.get("p", 0.5)) if on else 0.0, args, kwargs)

    def _attention(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._note(float(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)), args, kwargs)

    def _note(self, share: float, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A dropout that is on."""
        session = self._session
        if not share > 0 or not session.stack:
            return
        if session.active:
            session.buffer.add(session.stack[-1].site, DROPOUT_P, share)
        outermost = session.stack[0]
        modules = [frame.module for frame in session.stack]
        frozen = next((place for place, module in enumerate(modules) if self._is_frozen(module)), None)
        if frozen is not None:
            if not any(tensor.requires_grad for tensor in tensors_in([args, kwargs])):  # nothing trained lies before it
                self._within_frozen(modules[: frozen + 1])
        elif outermost.is_model and not outermost.active and outermost is not self._noted and not _is_differentiated():
            self._noted = outermost
            self._evaluated(outermost)

    def _is_frozen(self, module: nn.Module) -> bool:
        """Whether it has parameters and none of them is trained; asked once in a window."""
        if module not in self._frozen:
            some = next(module.parameters(), None) is not None
            self._frozen[module] = some and not _is_trained(module)
        return self._frozen[module]

    def _within_frozen(self, modules: list[nn.Module]) -> None:
        """The last of these is frozen, the others around it are not."""
        session, module = self._session, modules[-1]
        if module not in self._encoders:
            matrices = [p for part in module.modules() if not isinstance(part, _TABLES) for p in part.parameters(False)]
            layer = any(_is_one_of_several(part, around) for around, part in pairwise(modules))
            self._encoders[module] = any(p.dim() > 1 for p in matrices) and not layer
        if self._encoders[module]:
            site = session.naming.path(module)
            session.sites.register_site(DropoutSite(path=site, place=DropoutPlace.FROZEN_ENCODER))
            weight = max(module.parameters(), key=torch.numel)
            with session.measuring(site, Kind.DROPOUT, weight):
                session.buffer.add(site, NOISE_WEIGHTS, local_part(weight.detach()).sum(dtype=torch.float64))

    def _evaluated(self, outermost: Frame) -> None:
        session, site = self._session, self._session.naming.path(outermost.module)
        session.sites.register_site(DropoutSite(path=site, place=DropoutPlace.EVALUATION))
        if outermost.first is not None:
            with session.measuring(site, Kind.DROPOUT, outermost.first):
                self._passes.append((site, outermost.module, row_fingerprints(outermost.first.detach())))
                self._again.setdefault(outermost.module, [])


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _is_one_of_several(module: nn.Module, around: nn.Module) -> bool:
    """Whether it stands in a list with another of its kind that is trained: a layer of an encoder, no encoder."""
    lists = (part for part in around.modules() if isinstance(part, _LISTS))
    alike = next((list(part.children()) for part in lists if any(child is module for child in part.children())), [])
    return any(type(other) is type(module) and _is_trained(other) for other in alike if other is not module)


def _is_differentiated() -> bool:
    """Whether this runs inside of an autograd function, as a checkpoint, whose backward runs it again."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        first = frame.f_code.co_varnames[:1]
        if first and isinstance(frame.f_locals.get(first[0]), FunctionCtx):
            return True
        frame = frame.f_back
    return False
