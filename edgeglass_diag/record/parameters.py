"""Gradients before and after clipping, and what the optimizer step truly changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag.measures.geometry import sample_signal
from edgeglass_diag.measures.gradients import nonfinite_count, norms, update_ratios
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session


class ParameterTap:
    """Reads parameters around an optimizer step of a recorded window."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        self._clip: list[Tensor] = []
        self._numbers: dict[int, int] = {}

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed: clipping is a fused multiplication of the gradients by one coefficient."""
        return {torch._foreach_mul_: self._scaled}

    def before_step(self, optimizer: Optimizer) -> None:
        """Record gradients and learning rates, and keep the weights for comparison."""
        parameters = _held(optimizer)
        with_gradient = [p for p in parameters if p.grad is not None]
        if not with_gradient:
            self._session.cannot_observe("optimizer", "optimizer", "no parameter has a gradient")
            return
        session = self._session
        with session.measuring("optimizer", "optimizer", with_gradient[0]):
            gradients = [p.grad for p in with_gradient if p.grad is not None]
            lengths, weights = norms(gradients), norms(with_gradient)
            bad = nonfinite_count(gradients)
            for position, parameter in enumerate(with_gradient):
                name = session.naming.parameter(parameter)
                session.see(name, "parameter", label="x".join(map(str, parameter.shape)))
                session.buffer.add(name, "gradient/norm", lengths[position])
                session.buffer.add(name, "gradient/nonfinite", bad[position])
                session.buffer.add(name, "weight/norm", weights[position])
            total = lengths.square().sum().sqrt()
            session.buffer.add("", "gradient/norm_clipped", total)
            factor = torch.stack([c.to(total) for c in self._clip]).prod() if self._clip else torch.ones_like(total)
            session.buffer.add("", "gradient/clip_factor", factor)
            session.buffer.add("", "gradient/norm", total / factor)
            self._before[id(optimizer)] = (with_gradient, [p.detach().clone() for p in with_gradient])
        number = self._numbers.setdefault(id(optimizer), len(self._numbers))
        for index, group in enumerate(optimizer.param_groups):
            site = f"group{index}" if number == 0 else f"optimizer{number}.group{index}"
            for signal in ("lr", "weight_decay"):
                if isinstance(group.get(signal), (int, float, Tensor)):
                    session.buffer.add(site, f"optimizer/{signal}", float(group[signal]))

    def after_step(self, optimizer: Optimizer) -> None:
        """Record the true update of each parameter, and whether its rows differ."""
        held = self._before.pop(id(optimizer), None)
        if held is None:
            return
        parameters, before = held
        session = self._session
        with session.measuring("optimizer", "optimizer", parameters[0]):
            ratios = update_ratios(before, [p.detach() for p in parameters])
            for parameter, ratio in zip(parameters, ratios, strict=True):
                name = session.naming.parameter(parameter)
                session.buffer.add(name, "update/ratio", ratio)
                if parameter.dim() >= 2 and parameter.shape[0] > 1:
                    session.buffer.add(name, "weight/row_signal", sample_signal(parameter.detach()))

    def end_window(self) -> None:
        """Release the copies of the weights."""
        self._before.clear()
        self._clip.clear()

    def _scaled(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Note a coefficient that scales gradients: clip_grad_norm_ does this and nothing else of a usual loop."""
        if len(args) < 2:
            return
        tensors, factor = args[0], args[1]
        if isinstance(factor, Tensor) and factor.numel() == 1 and not tensors[0].requires_grad:
            gradients = {id(p.grad) for _, p in self._session.naming.named_parameters if p.grad is not None}
            if id(tensors[0]) in gradients:
                self._clip.append(factor.detach().clone())


def _held(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
