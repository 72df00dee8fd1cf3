"""Sees gradients being scaled down: clipping is a multiplication of the gradients by one coefficient."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import local_part
from edgeglass_diag.sites import Kind


@dataclass(slots=True)
class _Clip:
    """One multiplication of gradients by one number, in one call or in one for each dtype."""

    given: Tensor
    factor: Tensor
    gradients: dict[int, weakref.ref[Tensor]] = field(default_factory=dict)

    def of(self, gradient: Tensor) -> bool:
        """Whether this gradient was multiplied."""
        reference = self.gradients.get(id(gradient))
        return reference is not None and reference() is gradient


class ClipTap:
    """Notes the coefficients of ``clip_grad_norm_`` however it is spelled."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clips: list[_Clip] = []

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        return {torch._foreach_mul_: self._many, Tensor.mul_: self._one}

    def norm_before(self, gradients: list[Tensor], lengths: Tensor) -> Tensor:
        """L2 norm over all gradients before they were clipped: 0-d.

        Args:
            gradients: as the parameters hold them.
            lengths: (len(gradients),) their norms now.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for position, gradient in enumerate(gradients):
            clips = tuple(i for i, clip in enumerate(self._clips) if clip.of(gradient))
            groups.setdefault(clips, []).append(position)
        squares = []
        for clips, positions in groups.items():
            part = lengths if len(groups) == 1 else torch.stack([lengths[p] for p in positions])
            for clip in clips:
                part = part / self._clips[clip].factor.to(part)
            squares.append(part.square().sum())
        return torch.stack(squares).sum().sqrt()

    def any_of(self, gradients: list[Tensor]) -> bool:
        """Whether any of these gradients was multiplied since the window began."""
        return any(clip.of(gradient) for clip in self._clips for gradient in gradients)

    def end_window(self) -> None:
        """Forget the clipping of gradients that are gone; another optimizer may still step with the others."""
        alive = (clip for clip in self._clips if any(ref() is not None for ref in clip.gradients.values()))
        self._clips = list(alive)

    def _many(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) > 1 and args[0]:
            self._note(args[0], args[1])

    def _one(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) > 1:
            self._note([args[0]], args[1])

    def _note(self, tensors: list[Tensor], factor: Any) -> None:
        if not isinstance(factor, Tensor) or factor.numel() != 1 or tensors[0].requires_grad:
            return
        known = self._session.naming.gradients()
        found = {i: weakref.ref(known[i]) for tensor in tensors if (i := id(tensor)) in known and known[i] is tensor}
        if not found:
            return
        with self._session.measuring("optimizer", Kind.RECORDER, factor):
            newest = self._clips[-1] if self._clips else None
            if newest is None or newest.given is not factor or any(newest.of(known[i]) for i in found):
                newest = _Clip(factor, local_part(factor).clone().reshape(()))
                self._clips.append(newest)
            newest.gradients |= found
