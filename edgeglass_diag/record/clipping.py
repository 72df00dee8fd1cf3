"""Observes clipping: a multiplication of the gradients by one coefficient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import local_part
from edgeglass_diag.record.torch_functions import bind
from edgeglass_diag.sites import Kind


@dataclass(slots=True)
class _Clip:
    """One multiplication of gradients by one number, in one call or in one for each dtype.

    Attributes:
        given: the number, as the program has it.
        factor: its value then, 0-d.
        gradients: those multiplied, with whether an optimizer has stepped with them since.
    """

    given: Tensor
    factor: Tensor
    gradients: Facts[Tensor, bool] = field(default_factory=Facts)


class ClippingObserver(Observer):
    """Notes the coefficients of ``clip_grad_norm_`` however it is spelled, without gradients as torch itself does it.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._clips: list[_Clip] = []

    @property
    def functions_in_any_phase(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        return {torch._foreach_mul_: self._many, Tensor.mul_: self._one}

    def norm_before(self, gradients: list[Tensor], lengths: Tensor) -> Tensor:
        """Return the L2 norm over all gradients before they were clipped for the step that takes them now: 0-d.

        Args:
            gradients: as the parameters hold them.
            lengths: (len(gradients),) their norms now.
        """
        if not self._clips:
            return lengths.square().sum().sqrt()
        groups: dict[tuple[int, ...], list[int]] = {}
        for position, gradient in enumerate(gradients):
            clips = tuple(i for i, clip in enumerate(self._clips) if gradient in clip.gradients)
            groups.setdefault(clips, []).append(position)
        squares = []
        for clips, positions in groups.items():
            part = lengths if len(groups) == 1 else torch.stack([lengths[p] for p in positions])
            for clip in clips:
                part = part / self._clips[clip].factor.to(part)
                for position in positions:
                    self._clips[clip].gradients.set(gradients[position], True)
            squares.append(part.square().sum())
        return torch.stack(squares).sum().sqrt()

    def any_of(self, gradients: list[Tensor]) -> bool:
        """Return whether any of these gradients was multiplied since the window began."""
        return any(gradient in clip.gradients for clip in self._clips for gradient in gradients)

    def forget(self) -> None:
        """Forget the clipping of gradients that are gone or stepped with; an optimizer may still step with the others.

        Where gradients are cleared in place, or never, the same tensors are those of the next step.
        """
        for clip in self._clips:
            clip.gradients.prune()
            clip.gradients.remove(bool)
        self._clips = [clip for clip in self._clips if clip.gradients]

    def _many(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if given["tensors"]:
            self._note(given["tensors"], given.get("factor"))

    def _one(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note([given["tensor"]], given.get("factor"))

    def _note(self, tensors: list[Tensor], factor: Any) -> None:
        if not isinstance(factor, Tensor) or factor.numel() != 1 or tensors[0].requires_grad:
            return
        known = self._recording.naming.gradients()
        found = [tensor for tensor in tensors if known.get(id(tensor)) is tensor]
        if not found:
            return
        with self._recording.measuring("optimizer", Kind.RECORDER):
            newest = self._clips[-1] if self._clips else None
            if newest is None or newest.given is not factor or any(tensor in newest.gradients for tensor in found):
                newest = _Clip(factor, local_part(factor).clone().reshape(()))
                self._clips.append(newest)
            for tensor in found:
                newest.gradients.set(tensor, False)
