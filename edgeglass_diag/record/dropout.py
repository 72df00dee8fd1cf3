"""Observes dropout: how much it takes away, and where none belongs, in an evaluation or inside of a frozen encoder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from edgeglass_diag.measures.batches import row_fingerprints
from edgeglass_diag.record.batch_norms import takes_statistics_anew
from edgeglass_diag.record.evaluation_passes import EvaluationObserver
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.module_tree import has_parameters, modules, own_modules, own_parameters, parameters
from edgeglass_diag.record.nested import arguments_in, tensors_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign, is_measurable, local_part
from edgeglass_diag.record.torch_functions import DROPOUTS, FUSED_ATTENTION, OFF_BY_DEFAULT, bind
from edgeglass_diag.signals.activations import DROPOUT_P, NOISE_UNREPEATED, NOISE_WEIGHTS
from edgeglass_diag.sites import DropoutPlace, DropoutSite, Kind

_LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_TABLES = (nn.Embedding, nn.EmbeddingBag)
"""Modules whose weights are features already."""


class DropoutObserver(Observer):
    """Observes dropout in all phases, and tells an evaluation and a frozen encoder from what resembles them.

    ``dropout/p`` is the share that a dropout of a training forward pass takes away, at the module that asks for it.
    ``noise/unrepeated`` is the share of samples of a pass without gradients that do not come again with gradients in
    the same window: gradient caching runs all of a batch twice. ``noise/weights`` is the sum of a frozen module's
    weights, which a momentum teacher's moves.

    What was made by a pass without gradients and goes backward counts as coming again: targets, and whatever else a
    training step takes from the trained model itself. A pass by which BatchNorm's statistics are taken anew is none.

    Args:
        recording: state of the watch.
        evaluations: knows whether passes without gradients are parts of training steps.
    """

    def __init__(self, recording: Recording, evaluations: EvaluationObserver) -> None:
        self._recording, self._evaluations = recording, evaluations
        self._first: Facts[Frame, Tensor] = Facts()  # given to an outermost call, or within it
        self._passes: list[tuple[str, nn.Module, Tensor]] = []
        self._noted: Frame | None = None
        self._again: Facts[nn.Module, list[Tensor]] = Facts()
        self._frozen: Facts[nn.Module, bool] = Facts()
        self._encoders: Facts[nn.Module, bool] = Facts()

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed, with and without gradients."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(DROPOUTS, self._dropout)
        return table | {FUSED_ATTENTION: self._attention}

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Note the first tensor of a forward pass; the outermost module may be called by keyword alone."""
        if outermost in self._first:
            return
        first = next((t for t in tensors_in(arguments) if t.dim() > 1 and is_measurable(t)), None)
        if first is None:
            return
        self._first.set(outermost, first)
        again = self._again.get(outermost.module) if outermost.is_training else None
        if again is not None:
            with self._recording.measuring("", Kind.DROPOUT):
                again.append(row_fingerprints(first.detach()))

    def window_ends(self) -> None:
        """Write which samples did not come again; nothing where not all passes of the window were seen."""
        passes = self._passes if self._recording.clock.is_whole else []
        for site, module, rows in passes:
            again, is_part = self._again.get(module), self._evaluations.given_out.goes_backward({id(module)})
            alone = ~torch.isin(rows, torch.cat(again)) if again else torch.ones_like(rows)
            alone = torch.zeros_like(rows) if is_part else alone
            self._recording.buffer.add(site, NOISE_UNREPEATED, alone.double().mean())

    def forget(self) -> None:
        """Forget the passes of the window."""
        self._passes.clear()
        self._again.clear()
        self._frozen.clear()
        self._encoders.clear()
        self._noted = None

    def _dropout(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        on = given.get("training", func not in OFF_BY_DEFAULT)
        self._note(float(given.get("p", 0.5)) if on else 0.0, args, kwargs, result)

    def _attention(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._note(float(bind(func, args, kwargs).get("dropout_p", 0.0)), args, kwargs, result)

    def _note(self, share: float, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Note a dropout that is on."""
        stack = self._recording.stack
        if not share > 0:
            return
        if stack.is_training if stack.frames else isinstance(result, Tensor) and result.requires_grad:
            self._recording.buffer.add(stack.path, DROPOUT_P, share)
        if not stack.frames:
            return
        outermost = stack.frames[0]
        modules = [frame.module for frame in stack.frames]
        frozen = next((place for place, module in enumerate(modules) if self._is_frozen(module)), None)
        if frozen is not None:
            if not any(tensor.requires_grad for tensor in arguments_in(args, kwargs)):  # nothing trained lies before it
                self._within_frozen(modules[: frozen + 1])
        elif self._is_new_evaluation(outermost) and not _is_differentiated():
            self._noted = outermost
            if not takes_statistics_anew(outermost.module):
                self._evaluated(outermost)

    def _is_new_evaluation(self, outermost: Frame) -> bool:
        return outermost.is_model and not outermost.is_training and outermost is not self._noted

    def _is_frozen(self, module: nn.Module) -> bool:
        """Return whether it has parameters and none of them is trained; asked once in a window."""
        known = self._frozen.get(module)
        if known is None:
            known = has_parameters(module) and not _is_trained(module)
            self._frozen.set(module, known)
        return known

    def _within_frozen(self, modules: list[nn.Module]) -> None:
        """Note dropout within the last of these modules, which is frozen while the others around it are not."""
        recording, module = self._recording, modules[-1]
        encodes = self._encoders.get(module)
        if encodes is None:
            encodes = _is_encoder(modules)
            self._encoders.set(module, encodes)
        if encodes:
            site = recording.naming.path(module)
            recording.sites.register_site(DropoutSite(path=site, place=DropoutPlace.FROZEN_ENCODER))
            weight = max((p for p in parameters(module) if not is_foreign(p)), key=torch.numel)
            with recording.measuring(site, Kind.DROPOUT):
                recording.buffer.add(site, NOISE_WEIGHTS, local_part(weight.detach()).sum(dtype=torch.float64))

    def _evaluated(self, outermost: Frame) -> None:
        recording, site = self._recording, self._recording.naming.path(outermost.module)
        recording.sites.register_site(DropoutSite(path=site, place=DropoutPlace.EVALUATION))
        first = self._first.get(outermost)
        if first is not None:
            with recording.measuring(site, Kind.DROPOUT):
                self._passes.append((site, outermost.module, row_fingerprints(first.detach())))
                if outermost.module not in self._again:
                    self._again.set(outermost.module, [])


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in parameters(module))


def _is_encoder(running: list[nn.Module]) -> bool:
    """Return whether the innermost has matrices, other than tables of features, and is no layer of another."""
    own = (p for part in modules(running[-1]) if not isinstance(part, _TABLES) for p in own_parameters(part).values())
    layer = any(_is_one_of_several(part, around) for around, part in pairwise(running))
    return any(not is_foreign(p) and p.dim() > 1 for p in own) and not layer


def _is_one_of_several(module: nn.Module, around: nn.Module) -> bool:
    """Return whether it is a layer of an encoder: in a list with another of its kind that is trained."""
    lists = ([*own_modules(part)] for part in modules(around) if isinstance(part, _LISTS))
    alike = next((children for children in lists if any(child is module for child in children)), [])
    return any(type(other) is type(module) and _is_trained(other) for other in alike if other is not module)


def _is_differentiated() -> bool:
    """Return whether this runs inside of an autograd function, as a checkpoint, whose backward runs it again."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        first = frame.f_code.co_varnames[:1]
        if first and isinstance(frame.f_locals.get(first[0]), FunctionCtx):
            return True
        frame = frame.f_back
    return False
