"""What the taps of one watch share: the window's buffer, the lineage, the sites, the stack of running modules."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _disable_current_modes

from edgeglass_diag import site_paths
from edgeglass_diag.record.buffer import WindowBuffer
from edgeglass_diag.record.naming import Naming
from edgeglass_diag.record.profiler_ranges import RECORDER, span
from edgeglass_diag.record.site_registry import SiteRegistry
from edgeglass_diag.record.tensor_sources import Lineage
from edgeglass_diag.sites import Kind, LossFunction


class Measuring:
    """A block in which the recorder works: no gradients, no autocast, no modes, and no exception leaves it.

    A fault of the recorder must not end somebody's training: it is written into the coverage instead.
    """

    def __init__(self, session: Session, site: str, kind: Kind, tensor: Tensor | None) -> None:
        self._session, self._site, self._kind = session, site, kind
        self._stack = ExitStack()
        self._device = None if tensor is None else tensor.device.type

    def __enter__(self) -> None:
        self._stack.enter_context(torch.no_grad())
        self._stack.enter_context(torch._C.DisableTorchFunction())
        if torch._C._len_torch_dispatch_stack():  # a FlopCounterMode counts the user's operations, not ours
            self._stack.enter_context(_disable_current_modes())
        if self._device is not None and torch.amp.is_autocast_available(self._device):
            self._stack.enter_context(torch.autocast(self._device, enabled=False))
        self._stack.enter_context(span(RECORDER))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stack.close()
        if error is None or not isinstance(error, Exception):
            return False
        self._session.sites.failed(error, self._site, self._kind)
        return True


@dataclass(slots=True)
class Frame:
    """A module that is running.

    ``batch`` is the number of samples of its outermost call, 0 where unknown; ``hidden`` says that the function mode
    was taken off for it; ``is_model`` that it has parameters, asked of outermost modules only; ``mark`` is the span of
    an outermost call in a profiler's trace, and ``first`` the first tensor that it or a module in it was given.
    """

    module: nn.Module
    site: str
    active: bool
    batch: int
    hidden: bool = False
    is_model: bool = True
    mark: ExitStack | None = None
    first: Tensor | None = None


def _numbered(path: str, counts: Counter[str]) -> str:
    counts[path] += 1
    return site_paths.call(path, counts[path] - 1)


def _is_criterion(module: nn.Module) -> bool:
    """Whether a module can but compute a loss: all that it learns are single numbers, as a scale and a bias."""
    return all(not is_lazy(parameter) and parameter.numel() == 1 for parameter in module.parameters())


def _transforming() -> bool:
    """Whether torch is tracing or transforming a function, so that tensors are stand-ins without values."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
    )


class Tap(Protocol):
    """Something in place while a window is recorded."""

    def attach(self) -> None:
        """Begin to observe; does nothing where it observes already."""

    def detach(self) -> None:
        """Cease to observe; does nothing where it does not observe."""


@dataclass
class Session:
    """State of one watch.

    Attributes:
        calls: occurrences of a site in one outermost forward pass.
        losses: occurrences of a loss outside of models since the last backward pass, or since a model began again.
        taps: what is in place while a window is recorded, put in place and taken away together.
        functions: the one of them that watches functions.
        loss_scale: factor on the loss that goes backward (GradScaler), by which readings are divided.
        unscaled_by_step: whether the scaler itself takes that factor off the gradients at its step, and nobody before.
        forwards: outermost forward passes of the window.
        half: outputs of modules in float16, and all of them, in this window.
        batch: fingerprints of what models were called with since the last backward pass, by site.
        gradients: some that a backward pass has given, by id, until a function takes one of them.
        rows: samples of the last contrastive loss, 0 before the first.
        thread: the one that stepped last, None before the first step.
        without_gradients: modules that were called outermost without gradients, as in evaluation: not recorded.
    """

    naming: Naming = field(default_factory=Naming)
    sites: SiteRegistry = field(default_factory=SiteRegistry)
    buffer: WindowBuffer = field(default_factory=WindowBuffer)
    lineage: Lineage = field(default_factory=Lineage)
    stack: list[Frame] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    taps: list[Tap] = field(default_factory=list)
    functions: Tap | None = None
    attached: bool = False
    loss_scale: Tensor | None = None
    unscaled_by_step: bool = False
    forwards: int = 0
    half: Counter[bool] = field(default_factory=Counter)
    without_gradients: WeakSet[nn.Module] = field(default_factory=WeakSet)
    batch: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[int, weakref.ref[Tensor]] = field(default_factory=dict)
    rows: int = 0
    thread: int | None = None
    process: int = field(default_factory=os.getpid)
    _passed: set[nn.Module] = field(default_factory=set)

    @property
    def blind(self) -> bool:
        """Whether nothing can be observed now.

        So it is under a transform, in a forked worker that inherited the hooks, in another thread than the one
        that trains, and inside a backward pass, where checkpointed modules run a second time.
        """
        if _transforming():  # asked first: torch.compile follows these lines no further
            return True
        elsewhere = os.getpid() != self.process or self.thread not in (None, threading.get_ident())
        return elsewhere or torch._C._current_graph_task_id() != -1

    @property
    def active(self) -> bool:
        """Whether what happens now belongs to training: evaluation passes are not recorded."""
        return self.stack[-1].active if self.stack else torch.is_grad_enabled()

    def attach(self) -> None:
        """Put all taps in place."""
        self.attached = True
        for tap in self.taps:
            tap.attach()

    def detach(self) -> None:
        """Take all taps away."""
        self.attached = False
        for tap in self.taps:
            tap.detach()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A block in which no tap is in place."""
        self.detach()
        try:
            yield
        finally:
            self.attach()

    def unscaled(self, value: Tensor) -> Tensor:
        """A loss, or a gradient of it, without the factor that mixed precision puts on it."""
        return value if self.loss_scale is None else value / self.loss_scale.to(value)

    def occurrence(self, path: str) -> str:
        """``path`` for its first occurrence in a forward pass, ``path#k`` for the k-th after it."""
        return _numbered(path, self.calls)

    def loss(self, function: LossFunction) -> str:
        """The site of a loss, at the module that computes it if there is one.

        A criterion is called once for each of its losses, so that these are counted as those outside of modules are;
        a model that computes its own loss begins anew with each pass.
        """
        path = site_paths.child(self.stack[-1].site if self.stack else "", function)
        within = bool(self.stack) and self.stack[0].is_model and not _is_criterion(self.stack[0].module)
        return self.occurrence(path) if within else _numbered(path, self.losses)

    def begin_pass(self, module: nn.Module, *, is_model: bool) -> None:
        """An outermost forward pass begins: occurrences count anew, of losses where this very model ran already."""
        self.calls.clear()
        if module in self._passed:
            self.losses.clear()
            self._passed.clear()
        if is_model and not _is_criterion(module):
            self._passed.add(module)

    def end_passes(self) -> None:
        """All occurrences count anew: a backward pass begins, or the window ends."""
        self.calls.clear()
        self.losses.clear()
        self._passed.clear()

    def use(self, tensors: Iterable[Tensor]) -> None:
        """A function that does not merely clear them takes these tensors."""
        for tensor in tensors:
            known = self.gradients.get(id(tensor))
            if known is not None and known() is tensor:
                self.gradients.clear()
                return

    def take_batch(self) -> dict[str, Tensor]:
        """What models were called with for the backward pass that begins."""
        taken, self.batch = self.batch, {}
        return taken

    def measuring(self, site: str, kind: Kind, tensor: Tensor | None = None) -> Measuring:
        """Compute statistics apart from the user's graph and autocast; a failure is noted, never raised."""
        return Measuring(self, site, kind, tensor)

    def end_window(self) -> None:
        """Drop what belongs to the window only."""
        self.lineage.clear()
        self.end_passes()
        self.batch.clear()
        self.gradients.clear()
        self.parents.clear()
        self.loss_scale = None
        self.forwards = 0
        self.half.clear()
