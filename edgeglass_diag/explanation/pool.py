"""Run trials in worker processes, each once, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.recipe_trials import RecipeTrial, replay
from edgeglass_diag.workers import processes

Progress = Callable[[int, int, float], None]
"""Called with the number of finished trials, the number of known trials, and the mean seconds between two of them."""


class Pool:
    """Runs trials in parallel, each once.

    Args:
        out: folder of the runs.
        workers: number of processes, which share the cores.
        deadline: ``time.monotonic()`` after which no trial begins; None without a limit.
        progress: called after each trial.
    """

    def __init__(
        self, out: Path, *, workers: int, deadline: float | None = None, progress: Progress | None = None
    ) -> None:
        self._out, self._workers, self._deadline, self._progress = out, workers, deadline, progress
        self.done: dict[str, tuple[RecipeTrial, Outcome]] = {}
        self.seconds: list[float] = []
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        self._executor = processes(self._workers)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=kind is None, cancel_futures=True)

    @property
    def is_budget_spent(self) -> bool:
        """Whether the budget is spent."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def run(self, trials: Iterable[RecipeTrial]) -> dict[str, Outcome]:
        """Return outcomes by ``RecipeTrial.key`` of the trials that finished within the budget."""
        wanted = {trial.key: trial for trial in trials}
        waiting = [trial for key, trial in wanted.items() if key not in self.done]
        for trial, outcome, seconds in self._made(waiting):
            self.done[trial.key] = trial, outcome
            self.seconds.append(seconds)
            if self._progress is not None:
                left = sum(key not in self.done for key in wanted)
                self._progress(
                    len(self.done), len(self.done) + left, sum(self.seconds) / len(self.seconds) / self._workers
                )
        return {key: self.done[key][1] for key in wanted if key in self.done}

    def _made(self, waiting: list[RecipeTrial]) -> Iterator[tuple[RecipeTrial, Outcome, float]]:
        assert self._executor is not None
        running: dict[Future[Outcome], tuple[RecipeTrial, float]] = {}
        while running or (waiting and not self.is_budget_spent):
            while waiting and len(running) < self._workers and not self.is_budget_spent:
                trial = waiting.pop(0)
                running[self._executor.submit(replay, trial, self._out)] = trial, time.monotonic()
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                trial, begun = running.pop(future)
                yield trial, future.result(), time.monotonic() - begun
