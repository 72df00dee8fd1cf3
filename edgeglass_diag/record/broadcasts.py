"""Observes differences of an output and its target in which each sample meets the targets of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import DIFFERENCES, REGRESSIONS, bind
from edgeglass_diag.signals.losses import MODULE_BROADCAST
from edgeglass_diag.sites import Kind


class BroadcastObserver(Observer):
    """Writes ``module/broadcast`` of modules whose outputs (N, 1) or (N,) meet targets of the other of these shapes.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(DIFFERENCES, self._difference)
        return table | dict.fromkeys(REGRESSIONS, self._regression) | {Tensor.__rsub__: self._turned}

    def _difference(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._compare(given["input"], given.get("other"))

    def _turned(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._compare(*args[:2])

    def _regression(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._compare(given["input"], given["target"])

    def _compare(self, left: object, right: object) -> None:
        """Write of an output with gradients and a target that no model has given; pairwise differences are neither.

        Nor are those of a module with what it holds itself, as the centres of radial functions.
        """
        if not isinstance(left, Tensor) or not isinstance(right, Tensor) or left.requires_grad == right.requires_grad:
            return
        output, target = (left, right) if left.requires_grad else (right, left)
        count = max(output.shape, default=0)
        if count < 2 or {tuple(output.shape), tuple(target.shape)} != {(count,), (count, 1)}:
            return
        sources = self._recording.sources
        module = sources.sources([output])[-1:]
        if module and not sources.sources([target]) and not self._is_held(target):
            with self._recording.measuring(module[0], Kind.MODULE):
                self._recording.buffer.add(module[0], MODULE_BROADCAST, 1.0)

    def _is_held(self, target: Tensor) -> bool:
        """Return whether a tensor is a buffer or a frozen parameter of the running module, or a view of one."""
        module = self._recording.stack.module
        if module is None:
            return False
        held = (*module.buffers(), *module.parameters())
        return any(each.data_ptr() == target.data_ptr() and each.numel() >= target.numel() for each in held)
