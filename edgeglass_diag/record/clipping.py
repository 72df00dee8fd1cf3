"""Sees gradients being scaled down: clipping is a multiplication of the gradients by one coefficient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import local_part


@dataclass(slots=True)
class _Clip:
    """One multiplication of gradients by one number, in one call or in one for each dtype."""

    given: Tensor
    factor: Tensor
    gradients: set[int] = field(default_factory=set)


class ClipTap:
    """Notes the coefficients of ``clip_grad_norm_`` however it is spelled."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clips: list[_Clip] = []

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        return {torch._foreach_mul_: self._many, Tensor.mul_: self._one}

    def norm_before(self, gradients: list[int], lengths: Tensor) -> Tensor:
        """L2 norm over all gradients before they were clipped: 0-d.

        Args:
            gradients: their identities.
            lengths: (len(gradients),) their norms now.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for position, gradient in enumerate(gradients):
            clips = tuple(i for i, clip in enumerate(self._clips) if gradient in clip.gradients)
            groups.setdefault(clips, []).append(position)
        squares = []
        for clips, positions in groups.items():
            part = lengths if len(groups) == 1 else torch.stack([lengths[p] for p in positions])
            for clip in clips:
                part = part / self._clips[clip].factor.to(part)
            squares.append(part.square().sum())
        return torch.stack(squares).sum().sqrt()

    def end_window(self) -> None:
        """Forget the window's clipping."""
        self._clips.clear()

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
        found = {id(tensor) for tensor in tensors} & known
        if not found:
            return
        with self._session.measuring("optimizer", "optimizer", factor):
            if not self._clips or self._clips[-1].given is not factor or self._clips[-1].gradients & found:
                self._clips.append(_Clip(factor, local_part(factor).clone().reshape(())))
            self._clips[-1].gradients |= found
