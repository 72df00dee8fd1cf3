"""Watches module calls: who runs inside whom, where tensors come from, and statistics of each output."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.modules import module as hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from edgeglass_diag.record.activations import Activations
from edgeglass_diag.record.batches import observe_batch, observe_image_layer
from edgeglass_diag.record.dropout import DropoutTap
from edgeglass_diag.record.profiler_ranges import FORWARD, FORWARD_WITHOUT_GRADIENTS, span
from edgeglass_diag.record.session import Frame, Session
from edgeglass_diag.record.shards import is_measurable
from edgeglass_diag.record.tensor_sources import tensors_in
from edgeglass_diag.sites import Kind, ModuleSite

_FAST_PATHS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
"""Modules that choose another kernel where no function mode is active, and must choose it as they would unwatched."""

MAX_FORWARDS = 256
"""Outermost forward passes of one window that are recorded; a loop that never steps would fill the memory."""


class ModuleTap:
    """Global forward hooks. They keep their ids over all windows, or torch.compile would compile anew for each."""

    def __init__(self, session: Session, dropout: DropoutTap) -> None:
        self._session, self._dropout = session, dropout
        self.activations = Activations(session)
        self._models: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # transforms and losses are none
        before = register_module_forward_pre_hook(self._enter).id
        after = register_module_forward_hook(self._leave, with_kwargs=True, always_call=True).id
        # torch has no function that puts a hook back under its old id, and its own removal forgets the keywords' entry.
        self._entries: dict[tuple[str, int], Any] = {
            ("_global_forward_pre_hooks", before): self._enter,
            ("_global_forward_hooks", after): self._leave,
            ("_global_forward_hooks_with_kwargs", after): True,
            ("_global_forward_hooks_always_called", after): True,
        }
        self._attached = True
        self.detach()

    def attach(self) -> None:
        """Put the hooks in place."""
        if not self._attached:
            for (name, identity), value in self._entries.items():
                hooks.__dict__[name][identity] = value
            self._attached = True

    def detach(self) -> None:
        """Take the hooks away."""
        if self._attached:
            for name, identity in self._entries:
                hooks.__dict__[name].pop(identity, None)
            self._attached = False

    def _enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if not self._session.blind:
            self.enter(module, arguments)

    def _leave(self, module: nn.Module, arguments: tuple[Any, ...], *rest: Any) -> None:
        # After an exception torch calls this without the keywords and with no output.
        keywords, output = rest if len(rest) == 2 else ({}, None)
        if not self._session.blind:
            self.leave(module, arguments, keywords, output)

    def enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A module begins to run."""
        session = self._session
        outer = session.stack[-1] if session.stack else None
        is_model = outer is not None or self._is_model(module)
        if outer is None and not self._begin_pass(module, is_model=is_model):
            return
        training = (torch.is_grad_enabled() if outer is None else outer.active) and not _is_compiled_code(module)
        frame = Frame(module, "", training, 0, is_model=is_model)
        session.stack.append(frame)
        if outer is None:
            frame.mark = ExitStack()
            frame.mark.enter_context(span(FORWARD if training else FORWARD_WITHOUT_GRADIENTS))
        hidden = session.functions is not None and any(f.hidden for f in session.stack)
        if session.functions is not None and not hidden and _may_be_fused(module, arguments):
            session.functions.detach()
            frame.hidden = True
        try:
            frame.batch = (outer.batch if outer is not None else 0) or _batch(arguments, session.rows)
            for other in session.stack:  # called by keyword the outermost module does not tell
                other.batch = other.batch or frame.batch
            frame.site = session.occurrence(session.naming.path(module)) if frame.active else ""
            self._dropout.enter(session.stack[0], arguments)
        except Exception as error:
            frame.active = False
            session.sites.failed(error, type(module).__name__, Kind.MODULE)

    def _begin_pass(self, module: nn.Module, *, is_model: bool) -> bool:
        """An outermost forward pass begins; from the limit on the window goes unrecorded and the answer is False."""
        session = self._session
        session.begin_pass(module, is_model=is_model)
        if not torch.is_grad_enabled():
            session.without_gradients.add(module)
            return True
        session.forwards += is_model
        if session.forwards > MAX_FORWARDS:
            session.detach()
        return session.forwards <= MAX_FORWARDS

    def _is_model(self, module: nn.Module) -> bool:
        """Whether a module has parameters; transforms of pictures and losses have none."""
        if module not in self._models:
            self._models[module] = next(module.parameters(), None) is not None
        return self._models[module]

    def leave(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        """A module has run; ``output`` is None where it raised."""
        session = self._session
        if not any(frame.module is module for frame in session.stack):
            return
        while session.stack:
            frame = session.stack.pop()
            if frame.hidden and session.functions is not None:
                session.functions.attach()
            if frame.mark is not None:
                frame.mark.close()
            if frame.module is module:
                break
        if not frame.active or output is None:
            return
        try:
            given = list(tensors_in([arguments, keywords]))
            if not frame.is_model and not any(tensor.requires_grad for tensor in given):
                return
            if frame.is_model and not session.stack:
                observe_batch(session, frame.site, arguments, keywords)
            observe_image_layer(session, frame.site, module, given)
            self._observe(frame, module, given, output)
        except Exception as error:
            session.sites.failed(error, frame.site, Kind.MODULE)

    def _observe(self, frame: Frame, module: nn.Module, given: list[Tensor], output: Any) -> None:
        session = self._session
        made = [t for t in tensors_in(output) if t.is_floating_point() and all(t is not other for other in given)]
        inner = session.lineage.sources(made)
        parents = tuple(dict.fromkeys((*session.lineage.sources(given), *inner)))
        session.parents[frame.site] = parents
        session.sites.register_site(ModuleSite(path=frame.site, parents=parents, class_name=type(module).__name__))
        for position, tensor in enumerate(t for t in made if not session.lineage.is_output(t)):
            if position == 0:
                self._measure(frame, tensor)
            # The outputs of a whole model keep the sources they have inside, one side apart from the other. A part
            # that is called from outside, as `model.visual(images)`, is what its output comes from.
            part = len(made) == 1 and not session.naming.is_model(module) and session.lineage.product(tensor) is None
            if session.stack or part or not session.lineage.sources([tensor]):
                session.lineage.set_output(tensor, frame.site)

    def _measure(self, frame: Frame, tensor: Tensor) -> None:
        site = frame.site
        with self._session.measuring(site, Kind.MODULE, tensor):
            values = tensor.detach()
            if not is_measurable(values):
                return
            self._session.half[values.dtype == torch.float16] += 1
            axes = range(min(2, values.dim())) if frame.batch > 1 else ()
            axis = next((axis for axis in axes if values.shape[axis] == frame.batch), None)
            self.activations.take(site, values, axis)


def _is_compiled_code(module: nn.Module) -> bool:
    """Whether a module is what torch.compile made of somebody's code, run by a compiler that keeps Python."""
    return isinstance(module, GraphModule) and (
        type(module).__name__ == "<lambda>" or "dynamo_compile_id" in module.meta
    )


def _may_be_fused(module: nn.Module, arguments: tuple[Any, ...]) -> bool:
    """torch's own condition for its fast path: evaluation, and nothing in it asks for a gradient."""
    if module.training or not isinstance(module, _FAST_PATHS):
        return False
    involved = [*module.parameters(), *tensors_in(arguments)]
    return not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in involved)


def _batch(arguments: tuple[Any, ...], rows: int) -> int:
    """Number of samples: that of the last contrastive loss where a tensor has it, else the first axis."""
    shapes = [tensor.shape for tensor in tensors_in(arguments) if tensor.dim() > 0]
    if rows and any(rows in shape[:2] for shape in shapes):
        return rows
    return int(shapes[0][0]) if shapes else 0
