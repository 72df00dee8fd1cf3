"""The life of the windows: attaches the taps where the schedule says so, hands each window on at its end."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from edgeglass_diag.record.attention import LOGITS, AttentionTap
from edgeglass_diag.record.attention_inputs import OperandTap
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.compiled import CompiledTap
from edgeglass_diag.record.coverage import note_unobserved
from edgeglass_diag.record.dropout import DropoutTap
from edgeglass_diag.record.embeddings import EmbeddingTap
from edgeglass_diag.record.frozen_weight_updates import FrozenWeights
from edgeglass_diag.record.functions import FunctionTap, merged
from edgeglass_diag.record.losses import LossTap
from edgeglass_diag.record.modules import MAX_FORWARDS, ModuleTap
from edgeglass_diag.record.parameters import ParameterTap
from edgeglass_diag.record.provenance import Provenance
from edgeglass_diag.record.reshape_check import LayoutTap
from edgeglass_diag.record.scaling import ScalerTap
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.snapshots import PendingEmbeddings, Snapshots
from edgeglass_diag.records import ParameterOrigin

_COVERAGE_WINDOWS = 4
"""Windows after which is said what was not observed; every window would cost a walk over all modules."""

_STEP_CODE = Optimizer.profile_hook_step(len).__code__
"""Code of the wrapper that torch puts around the step of every optimizer, and in which it calls the hooks."""


class Recorder:
    """Observes whatever trains in this process between ``__enter__`` and ``__exit__``.

    ::

        with Recorder(schedule, sink):          # window 0 begins: taps attached, provenance on
            build the model                     #   each write to a parameter is noted
            for batch in data:
                forward, backward, clip         #   taps measure, if this window is recorded
                optimizer.step()                #   gradients before, updates after; window goes to the sink
                                                # the next window begins: taps attached or not

    Steps are those of the optimizer that steps first; others fall into its windows. A step that a GradScaler
    skips ends a window too. With a closure the forward pass belongs to the step itself, and gradients are read when
    the closure has returned for the first time. No random number is drawn and nothing that training computes is
    changed.

    Args:
        schedule: step -> whether its window is recorded.
        sink: takes each recorded window, in the training thread.
        attention_logits: the most logits that are looked at per attention and call; all where None.
        embeddings: takes the embeddings of some pairs at a few steps; none are kept where None.
        operands: whether ``operands`` collects what attention logits are made of, for an inspection at init.

    Attributes:
        operands: what attention logits are made of, None unless asked for.
    """

    def __init__(
        self,
        schedule: Callable[[int], bool],
        sink: Callable[[PendingWindow], None],
        *,
        attention_logits: int | None = LOGITS,
        embeddings: Callable[[PendingEmbeddings], None] | None = None,
        operands: bool = False,
    ) -> None:
        self._schedule, self._sink = schedule, sink
        self._snapshots = Snapshots(embeddings)
        session = self._session = Session()
        self.operands = OperandTap(session) if operands else None
        self._attention = AttentionTap(session, logits=attention_logits, operands=self.operands)
        self._embeddings = EmbeddingTap(session)
        self._parameters = ParameterTap(session)
        self._frozen = FrozenWeights(session)
        passes = self._parameters.passes
        self._losses = LossTap(session, self._embeddings, passes.before_backward, passes.after_backward)
        self._provenance: Provenance | None = Provenance(lambda: not session.stack)
        self._scaler = ScalerTap(session, self._after_skipped_step, lambda o: self._steps[id(o)])
        looked_at = {} if self.operands is None else self.operands.observers  # before attention asks for them
        self._layout = LayoutTap(session)
        self._dropout = DropoutTap(session)
        taps = (self._losses, self._embeddings, self._attention, self._layout)
        observers = merged(looked_at, *(tap.observers for tap in taps))
        # Clipping runs without gradients, as evaluation does, and must be seen nevertheless.
        self._in_any_phase = merged(self._parameters.observers, self._dropout.observers)
        self._always = merged(self._in_any_phase, self._provenance.observers)
        session.functions = FunctionTap(session, observers, self._always)
        modules = ModuleTap(session, self._dropout)
        self._activations = modules.activations
        self._patches = [self._losses.backward, self._scaler.while_recorded, self._scaler.always]
        session.taps = [modules, session.functions, *self._patches[:2]]
        self._compiled = CompiledTap(session, modules)
        self._hooks = ExitStack()
        self._lead: weakref.ref[Optimizer] | None = None
        self._followed: weakref.ref[Optimizer] | None = None
        self._steps: Counter[int] = Counter()
        self._since_lead: Counter[int] = Counter()
        self._flushed = 0
        self.step = 0

    def name_model(self, model: nn.Module) -> None:
        """Name a model's modules before it runs."""
        self._session.naming.adopt(model)

    def follow(self, optimizer: Optimizer) -> None:
        """End windows with the steps of this optimizer, from its first one on; the others fall into its windows."""
        self._followed = weakref.ref(optimizer)

    @property
    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """All parameters of the models that ran so far, with their names."""
        return self._session.naming.named_parameters

    def leave_step(self, optimizer: Optimizer) -> None:
        """End the window as after a step that changed nothing, where a step has begun and is not going to be taken."""
        self._after_step(optimizer, (), {})

    def __enter__(self) -> Recorder:
        before: Any = self._before_step  # torch lets it return other arguments, and does not say so in its types
        self._hooks.callback(register_optimizer_step_pre_hook(before).remove)
        self._hooks.callback(register_optimizer_step_post_hook(self._after_step).remove)
        self._scaler.always.attach()
        for patch in self._patches:
            self._hooks.callback(patch.remove)
        self._hooks.enter_context(self._compiled)
        if self._schedule(self.step):
            self._session.attach()
        return self

    def abandon(self) -> None:
        """Cease to observe and forget the window that has begun."""
        self._session.detach()
        self._hooks.close()
        self._session.buffer.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.detach()
        self._hooks.close()
        if self.step == 0 and len(self._session.buffer):
            self._flush()
        with self._session.measuring("embeddings", "recorder"):
            self._snapshots.hand_over(last=True)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        if self._foreign or not self._schedule(self.step) or _is_nested(optimizer):
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if callable(closure):
            watched = self._watched_closure(optimizer, closure)
            return ((args[0], watched, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": watched})
        self._read_gradients(optimizer)
        return None

    def _read_gradients(self, optimizer: Optimizer) -> None:
        self._session.detach()
        with self._session.measuring("optimizer", "optimizer"):
            self._parameters.before_step(optimizer, self.step)

    def _watched_closure(self, optimizer: Optimizer, closure: Callable[..., Any]) -> Callable[..., Any]:
        calls = 0

        def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            result = closure(*args, **kwargs)
            calls += 1
            if calls == 1:
                self._read_gradients(optimizer)
            return result

        return watched

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._foreign or _is_nested(optimizer):
            return
        self._steps[id(optimizer)] += 1
        self._session.thread = threading.get_ident()
        if self._schedule(self.step):
            self._session.detach()
            with self._session.measuring("optimizer", "optimizer"):
                self._parameters.after_step(optimizer, self.step)
        self._end_step(optimizer)

    def _after_skipped_step(self, optimizer: Optimizer) -> None:
        if self._foreign:
            return
        if self._schedule(self.step):
            self._session.detach()
            self._session.buffer.add("", "optimizer/skipped", 1.0)
        self._end_step(optimizer)

    def _end_step(self, optimizer: Optimizer) -> None:
        if self._leads(optimizer):
            if self._schedule(self.step):
                self._drop_if_cut_short()
                self._flush()
            self._forget_construction()
            self.step += 1
        self._session.stack.clear()  # what Ctrl-C in a forward pass has left there
        if self._schedule(self.step):
            self._session.attach()

    @property
    def _foreign(self) -> bool:
        """Whether this is a forked copy of the process that is watched."""
        return os.getpid() != self._session.process

    def _leads(self, optimizer: Optimizer) -> bool:
        """Whether this optimizer's step ends the window; the lead passes on when it is gone or steps no more."""
        followed = self._followed and self._followed()
        if followed is not None and self._steps[id(followed)]:
            return optimizer is followed
        lead = self._lead and self._lead()
        self._since_lead[id(optimizer)] += 1
        if lead is None or optimizer is lead or self._since_lead[id(optimizer)] > 1:
            self._lead = weakref.ref(optimizer)
            self._since_lead.clear()
            return True
        return False

    def _drop_if_cut_short(self) -> None:
        """A window of which only the beginning was recorded would be summed up to an untrue loss."""
        if self._session.forwards > MAX_FORWARDS:
            self._activations.forget()
            self._session.buffer.clear()
            reason = f"windows of more than {MAX_FORWARDS} forward passes are not recorded"
            self._session.cannot_observe("window", "recorder", reason)

    def _forget_construction(self) -> None:
        if self._provenance is not None:
            self._always.clear()
            self._always.update(self._in_any_phase)
            self._provenance = None

    def _flush(self) -> None:
        session = self._session
        origins: tuple[ParameterOrigin, ...] = ()
        window: PendingWindow | None = None
        with session.measuring("provenance", "recorder"):
            origins = self._provenance.origins(session.naming) if self._provenance is not None else ()
        with session.measuring("attention", "recorder"):
            self._attention.end_window()  # what it says about coverage belongs to this window
        with session.measuring("dropout", "recorder"):
            self._dropout.end_window(whole=session.forwards <= MAX_FORWARDS)
        self._activations.reduce()
        if self._flushed < _COVERAGE_WINDOWS:
            with session.measuring("coverage", "recorder"):
                note_unobserved(session)
            with session.measuring("frozen weights", "recorder"):
                self._frozen.begin(origins) if origins else self._frozen.compare()
        else:
            self._frozen.forget()
        self._flushed += 1
        if session.half[True]:
            session.buffer.add("", "precision/float16", session.half[True] / session.half.total())
        if session.loss_scale is not None:
            session.buffer.add("", "optimizer/loss_scale", session.loss_scale)
        with session.measuring("window", "recorder"):
            window = session.buffer.flush(self.step, session.take_new_sites(), origins)
        if window is not None:
            self._snapshots.note(self.step, self._embeddings.pairs)
            self._sink(window)
            with session.measuring("embeddings", "recorder"):
                self._snapshots.hand_over()
        session.buffer.clear()
        for tap in (self._losses, self._embeddings, self._parameters, self._layout, session):
            tap.end_window()
        if self.operands is not None:
            self.operands.end_window()


def _is_nested(optimizer: Optimizer) -> bool:
    """Whether this step was called by another step of the same optimizer, as a subclass calls ``super().step()``."""
    steps = 0
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is _STEP_CODE and frame.f_locals.get("self") is optimizer:
            steps += 1
        frame = frame.f_back
    return steps > 1
