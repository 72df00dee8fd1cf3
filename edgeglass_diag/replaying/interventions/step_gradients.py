"""Changes of the gradients that an optimizer steps with: how long they may be, and how long they stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grad, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from edgeglass_diag.record.optimizer_steps import is_nested
from edgeglass_diag.replaying.interventions.means import Means, register
from edgeglass_diag.replaying.interventions.optimizers import around_steps
from edgeglass_diag.replaying.interventions.places import line_of_program

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def when_gradients_are_there(args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[[], object]) -> Arguments:
    """Call as a step begins, or, where it is given a closure, each time the closure has computed its gradients.

    Args:
        args: of the step, with its optimizer.
        kwargs: of the step.
        call: what is called.

    Returns:
        The arguments that the step is to have.
    """
    if len(args) > 1 and callable(args[1]):
        return (args[0], _then(args[1], call), *args[2:]), kwargs
    if callable(kwargs.get("closure")):
        return args, {**kwargs, "closure": _then(kwargs["closure"], call)}
    call()
    return args, kwargs


def _then(closure: Callable[..., Any], call: Callable[[], object]) -> Callable[..., Any]:
    @wraps(closure)
    def watched(*args: Any, **kwargs: Any) -> Any:
        result = closure(*args, **kwargs)
        call()
        return result

    return watched


def held_by(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of an optimizer that have a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


@register
@dataclass
class ClearedGradients(Means):
    """Gradients of an optimizer's parameters are None after each of its steps.

    A program that reads them between its step and its next backward pass finds none.
    """

    name = "optimizer.clear_gradients"
    asks_models = False

    def attach(self) -> None:
        """Put a hook behind the steps of all optimizers."""
        around_steps(lambda *_: None, self._after)

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        held = [] if is_nested(optimizer) else held_by(optimizer)
        for parameter in held:
            parameter.grad = None
        if held:
            self.applied += 1
            self.place = self.place or self.training.line_of(optimizer)


@register
@dataclass
class ClippedGradients(Means):
    """The gradients of an optimizer's parameters have together at most the norm that is the value, at each step.

    They stay clipped behind the step. Those that carry the factor of mixed precision, as the step of a fused optimizer
    takes it off, are clipped at the norm times that factor.
    """

    name = "optimizer.clip"
    asks_models = False

    def attach(self) -> None:
        """Put a hook before the steps of all optimizers."""
        around_steps(self._before, lambda *_: None)

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        if is_nested(optimizer):
            return None
        return when_gradients_are_there(args, kwargs, lambda: self._clip(optimizer))

    def _clip(self, optimizer: Optimizer) -> None:
        held = held_by(optimizer)
        scale = getattr(optimizer, "grad_scale", None)
        limit = self.number * (1.0 if scale is None else float(scale))
        norm = get_total_norm([p.grad for p in held if p.grad is not None])
        clip_grads_with_norm_(held, limit, norm)
        if norm > limit:
            self.applied += 1
            self.place = self.place or self.training.line_of(optimizer)


@register
@dataclass
class UnclippedGradients(Means):
    """``clip_grad_norm_`` and its kin return what they return, and leave the gradients as they are."""

    name = "optimizer.unclipped"
    asks_models = False

    def attach(self) -> None:
        """Put functions in the place of those of torch that clip, which ``clip_grad_norm_`` calls too."""
        for owner, name, clips in (
            (clip_grad, "_clip_grads_with_norm_", _exceeds_norm),
            (nn.utils, "clip_grads_with_norm_", _exceeds_norm),
            (clip_grad, "clip_grad_value_", _exceeds_value),
            (nn.utils, "clip_grad_value_", _exceeds_value),
        ):
            setattr(owner, name, self._in_place_of(getattr(owner, name), clips))

    def _in_place_of(self, original: Callable[..., Any], clips: Callable[..., bool]) -> Callable[..., Any]:
        @wraps(original)
        def unclipped(parameters: Tensor | Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
            held = [parameters] if isinstance(parameters, Tensor) else parameters
            if clips([p.grad for p in held if p.grad is not None], *args, **kwargs):
                self.applied += 1
                self.place = self.place or line_of_program()

        return unclipped


def _exceeds_norm(gradients: list[Tensor], max_norm: float, total_norm: Tensor, *_: object, **__: object) -> bool:
    return bool(gradients) and bool(total_norm > max_norm)


def _exceeds_value(gradients: list[Tensor], clip_value: float, *_: object, **__: object) -> bool:
    return any(bool((gradient.abs() > clip_value).any()) for gradient in gradients)
