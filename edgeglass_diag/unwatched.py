"""What stands for a watch that could not be made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from edgeglass_diag.records import Findings
from edgeglass_diag.watching import Watch


class Unwatched(Watch):
    """Stands for a watch that could not be made, so that the training runs on without one."""

    def __init__(self, out: str | Path) -> None:
        self.folder, self.result = Path(out), {}

    @property
    def findings(self) -> Findings:
        """Return none."""
        return Findings()

    @property
    def training_thread(self) -> None:
        """Return None."""
        return None

    @property
    def stop(self) -> None:
        """Return None."""
        return None

    @property
    def step(self) -> int:
        """Return 0."""
        return 0

    def name_model(self, model: nn.Module) -> None:
        """Do nothing."""

    def follow(self, optimizer: Optimizer) -> None:
        """Do nothing."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exception: object) -> None:
        return None
