"""Bit-identity: the same training watched and unwatched, in each way in which people run it on an accelerator."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from edgeglass_diag.sites import Coverage
from edgeglass_diag.watching import Watch
from tests.gpu.programs import Training, backend, graphed, training

STEPS = 6
Make = Callable[[torch.device], Training]


@dataclass(frozen=True)
class Kind:
    """One way to train.

    Attributes:
        make: from the device to the training.
        cuda: whether it is there on CUDA alone.
        inside: whether the training is built inside of the watch.
    """

    make: Make
    cuda: bool = False
    inside: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison.

    Attributes:
        same: whether losses, weights, buffers and the optimizer's state are bit-identical watched and unwatched.
        repeats: whether two unwatched trainings are; where they are not, nothing follows from ``same``.
        failures: where the recorder failed.
        windows: recorded windows.
    """

    same: bool
    repeats: bool
    failures: tuple[str, ...]
    windows: int

    @property
    def is_well(self) -> bool:
        """Whether the watch has changed nothing, has recorded, and has not failed."""
        return (self.same or not self.repeats) and self.windows > 0 and not self.failures

    @property
    def text(self) -> str:
        """In words."""
        if self.failures:
            return "the recorder failed: " + "; ".join(self.failures)
        if not self.repeats:
            return "undecided: two unwatched trainings differ"
        return "identical" if self.same else "DIFFERS"


def _optimizer(name: str, **options: bool) -> Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]:
    return partial(getattr(torch.optim, name), lr=1e-3, **options)


def _compiled(on: torch.device, **options: object) -> Training:
    return training(on, compiled=backend(on), **options)  # type: ignore[arg-type]


KINDS: dict[str, Kind] = {
    "float32": Kind(training),
    "bf16 autocast": Kind(partial(training, autocast=torch.bfloat16)),
    "fp16 GradScaler": Kind(partial(training, autocast=torch.float16, scaled=True)),
    "AdamW foreach": Kind(partial(training, optimizer=_optimizer("AdamW", foreach=True))),
    "AdamW fused": Kind(partial(training, optimizer=_optimizer("AdamW", fused=True))),
    "SGD fused": Kind(partial(training, optimizer=_optimizer("SGD", fused=True))),
    "AdamW fused, fp16 GradScaler": Kind(
        partial(training, optimizer=_optimizer("AdamW", fused=True), autocast=torch.float16, scaled=True)
    ),
    "AdamW capturable": Kind(partial(training, optimizer=_optimizer("AdamW", capturable=True)), cuda=True),
    "channels_last": Kind(partial(training, memory_format=torch.channels_last)),
    "channels_last, bf16 autocast": Kind(partial(training, memory_format=torch.channels_last, autocast=torch.bfloat16)),
    "torch.compile": Kind(_compiled),
    "torch.compile, bf16 autocast": Kind(partial(_compiled, autocast=torch.bfloat16)),
    "CUDA graph": Kind(graphed, cuda=True),
    "CUDA graph captured in the watch": Kind(partial(graphed, errors="thread_local"), cuda=True, inside=True),
}


def compare(kind: Kind, on: torch.device) -> Outcome:
    """Train three times, the last time watched with every second window recorded."""
    first, second = _unwatched(kind, on), _unwatched(kind, on)
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder) / "run", every=2)
        made = None if kind.inside else kind.make(on)
        with watch:
            made = kind.make(on) if made is None else made
            losses = [made.step().cpu() for _ in range(STEPS)]
        failures, windows = _recorded(Path(folder) / "run")
    watched = [*losses, *made.numbers]
    return Outcome(_equal(first, watched), _equal(first, second), failures, windows)


def _unwatched(kind: Kind, on: torch.device) -> list[torch.Tensor]:
    torch._dynamo.reset()
    made = kind.make(on)
    losses = [made.step().cpu() for _ in range(STEPS)]
    torch._dynamo.reset()
    return [*losses, *made.numbers]


def _recorded(folder: Path) -> tuple[tuple[str, ...], int]:
    from edgeglass_diag.signals.losses import LOSS_TOTAL
    from edgeglass_diag.signals.parameters import GRADIENT_NORM
    from edgeglass_diag.store import load

    with load(folder) as run:
        failed = [f"{site.path}: {site.detail}" for site in run.sites if site.coverage is Coverage.RECORDER_FAILED]
        steps = {reading.step for signal in (LOSS_TOTAL, GRADIENT_NORM) for _, reading in run.readings(signal)}
        return tuple(failed), len(steps)


def _equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    """Return whether all bits are equal, NaN with NaN."""
    pairs = zip(left, right, strict=True)
    return all(a.dtype == b.dtype and torch.equal(_bits(a), _bits(b)) for a, b in pairs)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)
