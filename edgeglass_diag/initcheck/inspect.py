"""Observes one forward and backward pass of a model that was just built. Nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from edgeglass_diag.initcheck.prediction import Side, entropy, logit_std
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.attention_inputs import Operand, Operands
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.records import ParameterOrigin, UsageError, Window
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.activations import ACTIVATION_RMS, ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.attention import (
    ATTENTION_ENTROPY,
    ATTENTION_LOGIT_STD,
    ATTENTION_TOP1,
    ATTENTION_VALID_KEYS,
)
from edgeglass_diag.signals.parameters import GRADIENT_NORM, WEIGHT_ROW_SIGNAL
from edgeglass_diag.sites import Coverage, Kind, ModuleSite

Build = Callable[[], nn.Module]
Loss = Callable[[Any], Tensor]
"""From what the model returns to the number that goes backward."""


@dataclass(frozen=True, slots=True)
class AttentionAtInit:
    """One attention as measured and as predicted, means over heads.

    ``predicted_logit_std`` and ``predicted_entropy`` are None where nothing can be predicted; ``unpredicted`` says why.
    """

    site: str
    logit_std: float
    entropy: float
    top1: float
    queries: int
    keys: int
    predicted_logit_std: float | None
    predicted_entropy: float | None
    unpredicted: str


@dataclass(frozen=True, slots=True)
class ModuleAtInit:
    """The output of one module, in order of execution; ``sample_signal`` is None without a batch axis."""

    site: str
    kind: str
    rms: float
    sample_signal: float | None


@dataclass(frozen=True, slots=True)
class ParameterAtInit:
    """One trainable parameter; ``gradient`` is the norm of its gradient, None where none reached it.

    ``row_signal`` is the share of its energy by which its rows differ, None for vectors and NaN for zeros.
    """

    name: str
    shape: tuple[int, ...]
    std: float
    gradient: float | None
    row_signal: float | None


@dataclass(frozen=True)
class Inspection:
    """What was observed. ``window`` is the record as rules read it; ``origins`` say where initial values come from."""

    attention: tuple[AttentionAtInit, ...]
    modules: tuple[ModuleAtInit, ...]
    parameters: tuple[ParameterAtInit, ...]
    origins: tuple[ParameterOrigin, ...]
    never_called: tuple[str, ...]
    window: Window


class NoOpOptimizer(Optimizer):
    """An optimizer that changes nothing: its step ends the recorder's window and shows it the gradients."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {})

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Change nothing."""


def inspect_init(build: Build | nn.Module, batch: object, *, loss: Loss | None = None, seed: int = 0) -> Inspection:
    """Build a model, run one batch forward and backward, and say what was seen.

    The generators of torch are seeded while that lasts and are afterwards as before, so that two inspections of the
    same code see the same. The model is left in the mode in which it was built; its gradients are taken away again.

    Args:
        build: makes the model; it is watched, so that the origin of each initial value is known. Or a model that
            exists already, of which no origin is known.
        batch: what the model is called with: a tensor, a tuple of arguments, or a mapping of keywords.
        loss: makes the scalar that goes backward of the model's output. Where None, the output itself if it is a
            scalar, or what it holds under ``loss``; else fixed signs times all floating outputs, divided by the
            root of their number, which every output takes part in alike.
        seed: for the draws of ``build`` and for dropout.

    Raises:
        UsageError: where ``build`` makes no module, the model has no trainable parameter, or no output depends on one.
    """
    windows: list[PendingWindow] = []
    recorder = Recorder(lambda step: step == 0, windows.append, attention_logits=None, operands=True)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        with recorder:
            model = _built(build)
            recorder.name_model(model)
            trained = [p for p in model.parameters() if p.requires_grad]
            if not trained:
                raise UsageError(
                    f"inspect_init: expected a model with trainable parameters, {type(model).__name__} has none"
                )
            with _gradients_restored(trained):
                torch.autograd.backward(scalar(call(model, batch), loss))
                NoOpOptimizer(trained).step()
    assert recorder.operands is not None
    return inspection_of(windows[0].resolve(), recorder.operands.found)


def call(model: nn.Module, batch: object) -> Any:
    """Return the model's output for a tensor, a tuple of arguments, or a mapping of keywords."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


def scalar(output: Any, loss: Loss | None) -> Tensor:
    """Return the scalar that goes backward, see ``inspect_init``.

    Raises:
        UsageError: where it is no scalar, or depends on no parameter.
    """
    value = _chosen(output) if loss is None else loss(output)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(f"inspect_init: loss must give a scalar tensor, got {shape}")
    if not value.requires_grad:
        raise UsageError("inspect_init: no output of the model depends on a trainable parameter")
    return value


def _chosen(output: Any) -> Tensor:
    named = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(named, Tensor) and named.numel() == 1:
        return named
    if isinstance(output, Tensor) and output.numel() == 1:
        return output
    content = dict(output) if isinstance(output, Mapping) else output
    parts = [t for t in tensors_in(content) if t.is_floating_point() and t.requires_grad]
    if not parts:
        raise UsageError(
            f"inspect_init: no output of the model depends on a trainable parameter ({type(output).__name__})"
        )
    signs = torch.Generator().manual_seed(0)
    total = torch.zeros((), device=parts[0].device)
    for part in parts:
        sign = torch.randint(0, 2, part.shape, generator=signs).to(part) * 2 - 1
        total = total + (sign * part).sum().float().to(total.device) / math.sqrt(part.numel())
    return total


def _built(build: Build | nn.Module) -> nn.Module:
    model = build if isinstance(build, nn.Module) else build()
    if not isinstance(model, nn.Module):
        raise UsageError(f"inspect_init: build must return a torch.nn.Module, got {type(model).__name__}")
    return model


@contextmanager
def _gradients_restored(parameters: list[nn.Parameter]) -> Iterator[None]:
    before = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient


def inspection_of(window: Window, operands: Mapping[str, Operands]) -> Inspection:
    """What the window before the first step shows, with the operands of its attentions by site."""
    by_signal: dict[Signal, dict[str, float]] = {}
    for reading in window.readings:
        by_signal.setdefault(reading.signal, {})[reading.site] = math.fsum(reading.values) / len(reading.values)
    sites = sorted(window.sites, key=lambda site: site.order)
    attention = tuple(_attention(s, by_signal, operands.get(s)) for s in by_signal.get(ATTENTION_LOGIT_STD, {}))
    rms, signal = by_signal.get(ACTIVATION_RMS, {}), by_signal.get(ACTIVATION_SAMPLE_SIGNAL, {})
    modules = tuple(
        ModuleAtInit(s.path, s.class_name, rms[s.path], signal.get(s.path))
        for s in sites
        if isinstance(s, ModuleSite) and s.path in rms
    )
    norms, rows = by_signal.get(GRADIENT_NORM, {}), by_signal.get(WEIGHT_ROW_SIGNAL, {})
    trained = {s.path for s in sites if s.kind is Kind.PARAMETER}
    parameters = tuple(
        ParameterAtInit(o.name, o.shape, o.std, norms.get(o.name), rows.get(o.name))
        for o in window.origins
        if o.name in trained
    )
    silent = tuple(s.path for s in sites if s.kind is Kind.MODULE and s.coverage is Coverage.NOT_CALLED)
    return Inspection(attention, modules, parameters, window.origins, silent, window)


def _attention(
    site: str, by_signal: Mapping[Signal, Mapping[str, float]], operands: Operands | None
) -> AttentionAtInit:
    def read(signal: Signal) -> float:
        return by_signal.get(signal, {}).get(site, math.nan)

    predicted, reason = predict(operands, masked=read(ATTENTION_VALID_KEYS) < 1)
    keys = 0 if operands is None else operands.key.count
    return AttentionAtInit(
        site, read(ATTENTION_LOGIT_STD), read(ATTENTION_ENTROPY), read(ATTENTION_TOP1),
        0 if operands is None else operands.query.count, keys,
        predicted, None if predicted is None else entropy(predicted, keys), reason,
    )  # fmt: skip


def predict(operands: Operands | None, *, masked: bool) -> tuple[float | None, str]:
    """Return the logit std of an attention by the inputs and weights of its projections, or None and the reason.

    Assumes what ``prediction.logit_std`` assumes, and that the logits are scaled once by 1 / sqrt(head width) where
    the kernel was not given a scale. Learned queries without a projection are taken as drawn in a random direction;
    keys without one (normalised after it, say) by their own spread. No prediction is made for masked attention, for
    queries that are made of samples by anything but one linear map, and where an input has no axis of positions.
    """
    if operands is None:
        return None, "the product behind the softmax was not seen"
    if masked:
        return None, "masked: queries see different keys"
    query, key = operands.query, operands.key
    if query.reason and not (query.learned and not query.projection):
        return None, f"queries: {query.reason}"
    if key.reason and key.projection:
        return None, f"keys: {key.reason}"
    return logit_std(_side(query), _side(key), head_width=query.width, scale=operands.scale), ""


def _side(operand: Operand) -> Side:
    """Return the input of a projection; without one the operand itself, taken as drawn in a random direction."""
    if not operand.projection:
        return Side(operand.energy, operand.spread, 1 / math.sqrt(operand.width))
    return Side(operand.energy, operand.spread, operand.weight_std, operand.bias)
