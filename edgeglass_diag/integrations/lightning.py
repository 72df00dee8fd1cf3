"""The callback of Lightning: ``Trainer(callbacks=[Diagnose("runs/mine")])``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Unpack

from edgeglass_diag.extras import extra
from edgeglass_diag.integrations.session import Host, Options, Session

with extra("lightning", "edgeglass_diag.integrations.lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer

_LOGGER = logging.getLogger("lightning.pytorch.edgeglass_diag")


class Diagnose(Callback):
    """Record a ``fit`` as ``edgeglass-diag run`` does, and judge it as it goes.

    Modules are named by their paths below the LightningModule. Epochs, and what the validation logs, are recorded as
    ``metric/NAME``. Findings go to Lightning's logging on rank 0, their number to the trainer's loggers as
    ``edgeglass_diag/findings`` and ``edgeglass_diag/critical``.

    Args:
        out: run folder, new or empty.
        options: ``stop_on``, codes of findings that end the training by ``trainer.should_stop``, on all ranks
            together; ``should_raise``, end it by raising StopTraining at the end of the step instead; ``on_finding``,
            called with each new or worse finding, in the thread that writes the record; ``every``,
            ``exact_attention``, ``samples``, ``rules`` and ``name`` as of ``eg.watch``.

    Raises:
        UsageError: as ``eg.watch``, when ``fit`` begins.
    """

    def __init__(self, out: str | Path, **options: Unpack[Options]) -> None:
        self._session = Session(out, **options)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the record."""
        self._session.begin(pl_module, _host(trainer))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record which epoch begins."""
        self._session.record({"epoch": trainer.current_epoch})

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        """Log new findings, and stop where one says so."""
        if self._session.after_step():
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what the training has logged up to this validation."""
        if not trainer.sanity_checking:
            self._session.record(trainer.callback_metrics)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the record."""
        self._session.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the record of a training that failed or was interrupted."""
        self._session.end(exception)


def _host(trainer: Trainer) -> Host:
    def log(level: int, text: str) -> None:
        if trainer.is_global_zero:
            _LOGGER.log(level, text)

    def count(numbers: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)

    def agree(stop: bool) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(stop, all=False))

    return Host(log, trainer.global_rank, trainer.world_size, agree, count)
