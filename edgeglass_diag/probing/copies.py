"""Copies of the process that go on from the forward pass to the backward pass, with changed inputs, and end there."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from edgeglass_diag.probing.changes import Change
from edgeglass_diag.probing.inputs import Following, Inputs
from edgeglass_diag.process import error_text
from edgeglass_diag.record.nested import tensors_in

PATIENCE = 120.0
"""Seconds after which a copy is ended."""

ENTRIES = 64
"""Entries of an output of the first sample that are compared."""

NUDGE = 1e-2
"""By how much of its root mean square a weight is moved."""

FROM_ZERO = 0.1
"""By how much a weight is moved that is zero throughout, as a gate or the second matrix of an adapter."""


@dataclass
class Outcome:
    """What a copy saw.

    Attributes:
        loss: at the backward pass; NaN where there was none.
        changed: number of inputs that were changed.
        rounding: machine epsilon of the least precise output.
        rows: outputs of the models for the first sample: some entries of each.
        inputs: kind, shape and dtype of each input.
        failed: why it came to no backward pass, empty where it did.
    """

    loss: float = math.nan
    changed: int = 0
    rounding: float = 0.0
    rows: list[list[float]] = field(default_factory=list)
    inputs: list[tuple[str, list[int], str]] = field(default_factory=list)
    failed: str = ""


def outcome_in_copy(change: Change, *, evaluation: bool) -> Outcome | None:
    """Return what a copy of this process sees behind a change; None in the copy itself, which goes on from here.

    The copy has one thread, writes to no terminal, and ends at its backward pass, at a step of an optimizer, or by an
    error of a model. Its weights are moved a little first: what begins at zero, as a gate, counts as what it will be.

    Args:
        change: what is done to the inputs.
        evaluation: whether models are in evaluation mode.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _Copy(writer, change, evaluation).begin()
        return None
    os.close(writer)
    try:
        return _received(reader)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _received(reader: int) -> Outcome:
    text = b""
    while select.select([reader], [], [], PATIENCE)[0]:
        part = os.read(reader, 2**16)
        if not part:
            return Outcome(**json.loads(text)) if text else Outcome(failed="it ended without a backward pass")
        text += part
    return Outcome(failed=f"it took longer than {PATIENCE:g} s")


class _Copy:
    """The copy's side: changes inputs at each outermost call of a model, and tells what came of it."""

    current: _Copy | None = None

    def __init__(self, writer: int, change: Change, evaluation: bool) -> None:
        self._writer, self._change, self._evaluation = writer, change, evaluation
        self._inputs, self._outcome, self._moved = Inputs(), Outcome(), set[int]()
        self._generator = torch.Generator().manual_seed(0)

    def begin(self) -> None:
        torch.set_num_threads(1)  # those of the pool are not in a copy
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        torch.autograd.backward = self._end_at_backward
        register_optimizer_step_pre_hook(self._end_at_step)
        Following(self._inputs).__enter__()  # type: ignore[no-untyped-call]
        _Copy.current = self

    def call(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a model with changed inputs."""
        try:
            self._nudge(module)
            if self._evaluation:
                module.eval()
            self._outcome.changed += self._change(self._inputs.take((args, kwargs)))
            result = forward(module, *args, **kwargs)
            self._inputs.derive(result)
            self._note(result)
        except Exception as error:
            self.end(failed=error_text(error))
        return result

    @torch.no_grad()
    def _nudge(self, module: nn.Module) -> None:
        for parameter in module.parameters():
            if parameter.requires_grad and parameter.is_floating_point() and id(parameter) not in self._moved:
                self._moved.add(id(parameter))
                size = float(parameter.square().mean().sqrt())
                noise = torch.randn(parameter.shape, generator=self._generator, dtype=torch.float32)
                parameter.data = parameter.data + (NUDGE * size or FROM_ZERO) * noise.to(parameter)

    def _note(self, result: object) -> None:
        for tensor in tensors_in(result):
            if tensor.is_floating_point() and tensor.dim():
                row = tensor.detach()[0].flatten()
                picked = row[:: max(len(row) // ENTRIES, 1)][:ENTRIES].double().tolist()
                self._outcome.rows.append(picked)
                self._outcome.rounding = max(self._outcome.rounding, torch.finfo(tensor.dtype).eps)

    def _end_at_backward(self, tensors: Any, *args: Any, **kwargs: Any) -> NoReturn:
        losses = [tensor for tensor in tensors_in((tensors,)) if tensor.numel() == 1]
        self._outcome.loss = float(losses[0].detach()) if losses else math.nan
        self.end(failed="" if losses else "its backward pass begins at no single loss")

    def _end_at_step(self, *_: object) -> NoReturn:
        self.end(failed="its optimizer steps without a backward pass")

    def end(self, *, failed: str) -> NoReturn:
        """Tell the process that made the copy, and end."""
        self._outcome.failed = failed
        self._outcome.inputs = [
            (each.kind, list(each.tensor.shape), str(each.tensor.dtype).removeprefix("torch."))
            for each in self._inputs.found
        ]
        text = json.dumps(asdict(self._outcome)).encode()
        while text:
            text = text[os.write(self._writer, text) :]
        os._exit(0)


def current_copy() -> _Copy | None:
    """Return the side of a copy, None in the process itself."""
    return _Copy.current
