"""Run trials in worker processes, each once, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.recipe_trials import RecipeTrial, replay
from edgeglass_diag.process import error_text
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
        goes_on: whether a trial that fails, or whose process dies, is noted in ``failed`` and the others go on.
    """

    def __init__(
        self,
        out: Path,
        *,
        workers: int,
        deadline: float | None = None,
        progress: Progress | None = None,
        goes_on: bool = False,
    ) -> None:
        self._out, self._workers, self._deadline, self._progress = out, workers, deadline, progress
        self._goes_on = goes_on
        self.done: dict[str, tuple[RecipeTrial, Outcome]] = {}
        self.failed: dict[str, str] = {}
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

    def failures(self, trials: Iterable[RecipeTrial]) -> list[str]:
        """Return what the trials that failed have raised."""
        return [self.failed[trial.key] for trial in trials if trial.key in self.failed]

    def run(self, trials: Iterable[RecipeTrial]) -> dict[str, Outcome]:
        """Return outcomes by ``RecipeTrial.key`` of the trials that finished within the budget."""
        wanted = {trial.key: trial for trial in trials}
        waiting = [trial for key, trial in wanted.items() if key not in self.done]
        for trial, outcome, seconds in self._made(waiting):
            if outcome is not None:
                self.done[trial.key] = trial, outcome
            self.seconds.append(seconds)
            if self._progress is not None:
                ended = len(self.done) + len(self.failed)
                left = sum(key not in self.done and key not in self.failed for key in wanted)
                self._progress(ended, ended + left, sum(self.seconds) / len(self.seconds) / self._workers)
        return {key: self.done[key][1] for key in wanted if key in self.done}

    def _made(self, waiting: list[RecipeTrial]) -> Iterator[tuple[RecipeTrial, Outcome | None, float]]:
        """Yield the trials as they end; None for the outcome of one that failed."""
        running: dict[Future[Outcome], tuple[RecipeTrial, float]] = {}
        suspects: list[RecipeTrial] = []  # in flight when a process died: made again, one by one
        while running or suspects or (waiting and not self.is_budget_spent):
            if not suspects:
                while waiting and len(running) < self._workers and not self.is_budget_spent:
                    self._begin(waiting.pop(0), running)
            elif not running:
                self._begin(suspects.pop(0), running)
            alone = len(running) == 1
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                if future not in running:
                    continue
                trial, begun = running.pop(future)
                error = future.exception()
                if error is not None and not self._goes_on:
                    raise error
                if isinstance(error, BrokenProcessPool) and not alone:
                    suspects += [trial, *(other for other, _ in running.values())]
                    running.clear()
                    continue
                if error is not None:
                    self.failed[trial.key] = error_text(error)
                yield trial, None if error is not None else future.result(), time.monotonic() - begun

    def _begin(self, trial: RecipeTrial, running: dict[Future[Outcome], tuple[RecipeTrial, float]]) -> None:
        assert self._executor is not None
        try:
            future = self._executor.submit(replay, trial, self._out)
        except BrokenProcessPool:  # a process of it has died
            self._executor = processes(self._workers)
            future = self._executor.submit(replay, trial, self._out)
        running[future] = trial, time.monotonic()
