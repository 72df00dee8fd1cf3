"""For engines of ignite: ``Diagnose("runs/mine").attach(trainer, model)``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from edgeglass_diag.extras import extra
from edgeglass_diag.integrations.session import Host, Options, Session

with extra("ignite", "edgeglass_diag.integrations.ignite"):
    import ignite.distributed as idist
    from ignite.engine import Engine, Events


class Diagnose:
    """Record the run of a training engine as ``edgeglass-diag run`` does, and judge it as it goes.

    Epochs, and the metrics of evaluators, are recorded as ``metric/NAME``. Findings go to the engine's logger on
    rank 0, their number to its ``state.metrics`` as ``edgeglass_diag/findings`` and ``edgeglass_diag/critical``.

    An engine that has a handler of exceptions does not raise them, so that none is added: the record of a training
    that failed ends with the process, or with ``end``.

    Args:
        out: run folder, new or empty.
        options: ``stop_on``, codes of findings that end the training by ``engine.terminate()``, on all ranks
            together; ``should_raise``, end it by raising StopTraining at the end of the iteration instead;
            ``on_finding``, called with each new or worse finding, in the thread that writes the record; ``every``,
            ``exact_attention``, ``samples``, ``rules`` and ``name`` as of ``eg.watch``.

    Raises:
        UsageError: as ``eg.watch``, when the engine begins to run.
    """

    def __init__(self, out: str | Path, **options: Unpack[Options]) -> None:
        self._session = Session(out, **options)

    def attach(self, engine: Engine, model: nn.Module | None = None, *, evaluators: Sequence[Engine] = ()) -> None:
        """Take part in the runs of an engine.

        Args:
            engine: trains.
            model: its modules are named by their paths below it.
            evaluators: engines whose metrics are recorded at the end of each of their runs.
        """
        engine.add_event_handler(Events.STARTED, self._begin, model)
        engine.add_event_handler(Events.EPOCH_STARTED, self._record_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        engine.add_event_handler(Events.COMPLETED, lambda: self.end())
        for evaluator in evaluators:
            evaluator.add_event_handler(Events.COMPLETED, self._record_metrics)

    def end(self, error: BaseException | None = None) -> None:
        """End the record of a training that failed, as in a notebook, where the process goes on."""
        self._session.end(error)

    def _begin(self, engine: Engine, model: nn.Module | None) -> None:
        self._session.begin(model, _host(engine))

    def _record_epoch(self, engine: Engine) -> None:
        self._session.record({"epoch": engine.state.epoch - 1})

    def _after_iteration(self, engine: Engine) -> None:
        if self._session.after_step():
            engine.terminate()

    def _record_metrics(self, evaluator: Engine) -> None:
        self._session.record(evaluator.state.metrics)


def _host(engine: Engine) -> Host:
    rank = idist.get_rank()

    def log(level: int, text: str) -> None:
        if rank == 0:
            engine.logger.log(level, text)

    def agree(stop: bool) -> bool:
        total: Any = idist.all_reduce(float(stop))
        return bool(total > 0)

    return Host(log, rank, idist.get_world_size(), agree, engine.state.metrics.update)
