"""A watch: windows begin with it and end with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from torch import Tensor, nn
from torch.optim import Optimizer

from edgeglass_diag.record.attention_inputs import AttentionInputObserver
from edgeglass_diag.record.attention_layout import LOGITS
from edgeglass_diag.record.boundary import entry
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.rounds import held_by
from edgeglass_diag.record.snapshots import PendingEmbeddings
from edgeglass_diag.record.window_clock import WindowClock
from edgeglass_diag.record.windows import Windows


class Recorder:
    """Observes whatever trains in this process between ``__enter__`` and ``__exit__``::

        with Recorder(schedule, sink):          # window 0 begins: hooks attached, provenance on
            build the model                     #   each write to a parameter is noted
            for batch in data:
                forward, backward, clip         #   observers measure, if this window is recorded
                optimizer.step()                #   gradients before, updates after; window goes to the sink
                                                # the next window begins: hooks attached or not

    Steps are those of the optimizer that steps first, and of those that step together with it; where none of torch
    steps, the writes of other code to weights that a backward pass gave gradients. A step that a GradScaler skips ends
    a window too. With a closure, which has the forward pass inside, gradients are read when it has returned
    for the first time. No random number is drawn; what training computes stays as it is.

    Args:
        schedule: step -> whether its window is recorded.
        sink: takes each recorded window, in the training thread.
        attention_logits: the most logits that are looked at per attention and call; all where None.
        embeddings: takes the embeddings of some pairs at a few steps; none are kept where None.
        samples: whether pictures and captions of these pairs are given with them.
        operands: whether ``operands`` collects what attention logits are made of, for an inspection at init.
        first: number of the first window.
    """

    def __init__(
        self,
        schedule: Callable[[int], bool],
        sink: Callable[[PendingWindow], None],
        *,
        attention_logits: int | None = LOGITS,
        embeddings: Callable[[PendingEmbeddings], None] | None = None,
        samples: bool = False,
        operands: bool = False,
        first: int = 0,
    ) -> None:
        self._clock = WindowClock(schedule, first)
        self._recording = Recording(self._clock)
        self.boundary = self._recording.boundary
        self._windows = Windows(
            self._recording,
            sink,
            attention_logits=attention_logits,
            embeddings=embeddings,
            samples=samples,
            operands=operands,
        )

    @property
    def step(self) -> int:
        """The step whose window has begun: the number of optimizer steps so far, with those of earlier processes."""
        return self._clock.step

    @property
    def training_thread(self) -> threading.Thread | None:
        """The thread that is watched, None where none is known or it has ended."""
        return self._clock.thread.living

    @property
    def operands(self) -> AttentionInputObserver | None:
        """What attention logits are made of, None unless asked for."""
        return self._windows.observers.inputs

    @entry("recorder")
    def follow(self, optimizer: Optimizer) -> None:
        """End windows with the steps of this optimizer, from its first one on; the others fall into its windows."""
        self._clock.follow(optimizer)
        self._windows.observers.evaluations.trained.note(held_by(optimizer))

    @property
    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """All parameters of the models that ran so far, with their names."""
        return self._recording.naming.named_parameters

    @entry("recorder")
    def name_model(self, model: nn.Module) -> None:
        """Name a model's modules before it runs."""
        self._recording.naming.adopt(model)

    def leave_step(self, optimizer: Optimizer) -> None:
        """End the window as after a step that changed nothing, where a step has begun and is not going to be taken."""
        self._windows.after_step(optimizer, (), {})

    def __enter__(self) -> Recorder:
        try:
            self._install()
            return self
        except BaseException:
            self._windows.take_away()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end_watch()
            self._say_failures()
        except BaseException:
            self._windows.take_away()
            raise

    @entry("recorder", always=True)
    def abandon(self) -> None:
        """Cease to observe and forget the window that has begun."""
        self._windows.take_away()
        self._recording.buffer.clear()

    @entry("recorder")
    def _install(self) -> None:
        try:
            self._windows.begin()
        except Exception:
            self._windows.take_away()
            raise

    @entry("recorder", always=True)
    def _end_watch(self) -> None:
        self._windows.end()

    @entry("recorder", always=True)
    def _say_failures(self) -> None:
        self._windows.take_away()  # what a failure has left
        self._windows.say_failures()
