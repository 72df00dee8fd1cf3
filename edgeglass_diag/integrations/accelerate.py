"""For a loop with accelerate: ``with Diagnose(accelerator, model, out="runs/mine") as diagnose:`` around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import torch
from torch import nn

from edgeglass_diag.extras import extra
from edgeglass_diag.integrations.session import Host, Options, Session

with extra("accelerate", "edgeglass_diag.integrations.accelerate"):
    from accelerate import Accelerator
    from accelerate.logging import get_logger


class Diagnose:
    """Record the training inside a ``with`` block as ``edgeglass-diag run`` does, and judge it as it goes::

        with Diagnose(accelerator, model, out="runs/mine", stop_on=["EG801"]) as diagnose:
            for batch in loader:
                with accelerator.accumulate(model):
                    ...
                if diagnose.after_step():
                    break

    Findings go to accelerate's logging on the main process, their number to the accelerator's trackers as
    ``edgeglass_diag/findings`` and ``edgeglass_diag/critical``.

    Args:
        accelerator: of the training.
        model: its modules are named by their paths below it; prepared or not.
        out: run folder, new or empty.
        options: ``stop_on``, codes of findings on which ``after_step`` returns true, on all processes together;
            ``should_raise``, raise StopTraining in ``after_step`` instead; ``on_finding``, called with each new or
            worse finding, in the thread that writes the record; ``every``, ``exact_attention``, ``samples``,
            ``rules`` and ``name`` as of ``eg.watch``.

    Raises:
        UsageError: as ``eg.watch``, when the block is entered.
    """

    def __init__(
        self, accelerator: Accelerator, model: nn.Module | None = None, *, out: str | Path, **options: Unpack[Options]
    ) -> None:
        self._accelerator, self._model = accelerator, model
        self._session = Session(out, **options)

    def __enter__(self) -> Self:
        model = None if self._model is None else self._accelerator.unwrap_model(self._model)
        self._session.begin(model, _host(self._accelerator))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.end(error)

    def after_step(self) -> bool:
        """Log new findings, and return whether to stop; to be called after each batch, by all processes.

        Raises:
            StopTraining: where it is to stop, with ``should_raise``.
        """
        return self._session.after_step()

    def log(self, metrics: Mapping[str, object]) -> None:
        """Record numbers, such as the epoch and those of a validation, as ``metric/NAME`` of the last step."""
        self._session.record(metrics)


def _host(accelerator: Accelerator) -> Host:
    logger = get_logger("accelerate.edgeglass_diag")

    def agree(stop: bool) -> bool:
        asked = torch.tensor(float(stop), device=accelerator.device)
        return float(accelerator.reduce(asked, reduction="sum")) > 0

    def count(numbers: dict[str, float]) -> None:
        """Log beside the program's own row: W&B would count a step for each."""
        accelerator.log(numbers, log_kwargs={"wandb": {"commit": False}})

    return Host(logger.log, accelerator.process_index, accelerator.num_processes, agree, count)
