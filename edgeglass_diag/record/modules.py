"""Watches module calls: who runs inside whom, where tensors come from, and statistics of each output."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from edgeglass_diag.record.lineage import tensors_in
from edgeglass_diag.record.session import Frame, Session


class ModuleTap:
    """Global forward hooks, in place only while inside ``with``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> ModuleTap:
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._session.stack.clear()

    def _enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        session = self._session
        if session.blind:
            return
        outer = session.stack[-1] if session.stack else None
        if outer is None:
            session.calls.clear()
        frame = Frame(module, "", torch.is_grad_enabled() if outer is None else outer.active, 0)
        session.stack.append(frame)
        if not torch.is_grad_enabled() and not any(other.paused for other in session.stack):
            session.pause()
            frame.paused = True
        try:
            frame.batch = (outer.batch if outer is not None else 0) or _batch(arguments)
            frame.site = session.occurrence(session.naming.path(module)) if frame.active else ""
        except Exception as error:
            frame.active = False
            session.failed(error, type(module).__name__, "module")

    def _leave(self, module: nn.Module, arguments: tuple[Any, ...], *rest: Any) -> None:
        # After an exception torch calls this without the keywords and with no output.
        keywords, output = rest if len(rest) == 2 else ({}, None)
        session = self._session
        if session.blind:
            return
        while session.stack:
            frame = session.stack.pop()
            if frame.paused:
                session.resume()
            if frame.module is module:
                break
        else:
            return
        if frame.active and output is not None:
            try:
                self._observe(frame, module, arguments, keywords, output)
            except Exception as error:
                session.failed(error, frame.site, "module")

    def _observe(
        self, frame: Frame, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None:
        session = self._session
        given = list(tensors_in([arguments, keywords]))
        made = [t for t in tensors_in(output) if t.is_floating_point() and all(t is not other for other in given)]
        inner = session.lineage.sources(made)
        parents = tuple(dict.fromkeys((*session.lineage.sources(given), *inner)))
        session.see(frame.site, "module", parents=parents, label=type(module).__name__)
        for position, tensor in enumerate(t for t in made if not session.lineage.is_output(t)):
            if position == 0:
                self._measure(frame, tensor)
            # The outputs of a whole model keep the sources they have inside, one side apart from the other.
            if session.stack or not session.lineage.sources([tensor]):
                session.lineage.set_output(tensor, frame.site)

    def _measure(self, frame: Frame, tensor: Tensor) -> None:
        session, site = self._session, frame.site
        with session.measuring(site, "module", tensor):
            values = tensor.detach()
            if values.numel() == 0:
                return
            values = values if values.dtype in (torch.float32, torch.float64) else values.float()
            add = session.buffer.add
            axis = _batch_axis(values, frame.batch)
            absmax = values.abs().amax()
            # Divided by the largest, squares of large but finite activations do not overflow.
            unit = torch.where((absmax > 0) & torch.isfinite(absmax), absmax, torch.ones_like(absmax))
            if axis is None:
                add(site, "activation/rms", (values / unit).square().mean().sqrt() * unit)
            else:
                variance, mean = torch.var_mean(values / unit, dim=axis, correction=0)
                spread = variance.mean()
                energy = spread + mean.square().mean()
                add(site, "activation/rms", energy.sqrt() * unit)
                add(site, "activation/sample_signal", torch.where(energy == 0, energy, spread / energy))
            add(site, "activation/absmax", absmax)
            add(site, "activation/zeros", (values == 0).float().mean())
            add(site, "activation/nonfinite", (~torch.isfinite(values)).sum())


def _batch(arguments: tuple[Any, ...]) -> int:
    for tensor in tensors_in(arguments):
        if tensor.dim() > 0:
            return int(tensor.shape[0])
    return 0


def _batch_axis(values: Tensor, batch: int) -> int | None:
    if batch < 2:
        return None
    return next((axis for axis in range(min(2, values.dim())) if values.shape[axis] == batch), None)
