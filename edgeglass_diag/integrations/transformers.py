"""The callback of transformers' Trainer and of sentence-transformers': ``callbacks=[Diagnose("runs/mine")]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from edgeglass_diag.extras import extra
from edgeglass_diag.integrations.session import Host, Options, Session

with extra("transformers", "edgeglass_diag.integrations.transformers"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.utils.logging import get_logger

_LOGGER = get_logger("transformers.edgeglass_diag")


class Diagnose(TrainerCallback):
    """Record a ``train`` as ``edgeglass-diag run`` does, and judge it as it goes.

    Modules are named by their paths below the trainer's model. Epochs, and the metrics of evaluations, are recorded
    as ``metric/NAME``. Findings go to transformers' logging on rank 0.

    The Trainer tells its callbacks nothing of an error: the record of a training that failed ends with the process,
    or with ``end``.

    Args:
        out: run folder, new or empty.
        options: ``stop_on``, codes of findings that end the training by ``control.should_training_stop``, on all
            ranks together; ``should_raise``, end it by raising StopTraining at the end of the step instead;
            ``on_finding``, called with each new or worse finding, in the thread that writes the record; ``every``,
            ``exact_attention``, ``samples``, ``rules`` and ``name`` as of ``eg.watch``.

    Raises:
        UsageError: as ``eg.watch``, when ``train`` begins.
    """

    def __init__(self, out: str | Path, **options: Unpack[Options]) -> None:
        self._session = Session(out, **options)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Begin the record."""
        model = parts.get("model")
        self._session.begin(model if isinstance(model, nn.Module) else None, _host(args, state))

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Record which epoch begins."""
        self._session.record({"epoch": state.epoch})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Log new findings, and stop where one says so."""
        if self._session.after_step():
            control.should_training_stop = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **parts: Any,
    ) -> None:
        """Record the metrics of an evaluation."""
        self._session.record({name: value for name, value in (metrics or {}).items() if name != "epoch"})

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """End the record."""
        self._session.end()

    def end(self, error: BaseException | None = None) -> None:
        """End the record of a training that failed, as in a notebook, where the process goes on."""
        self._session.end(error)


def _host(args: TrainingArguments, state: TrainerState) -> Host:
    def log(level: int, text: str) -> None:
        if state.is_world_process_zero:
            _LOGGER.log(level, text)

    def agree(stop: bool) -> bool:
        from accelerate.utils import reduce  # which a Trainer has imported

        return bool(reduce(torch.tensor(float(stop), device=args.device), reduction="sum") > 0)

    return Host(log, args.process_index, args.world_size, agree)
