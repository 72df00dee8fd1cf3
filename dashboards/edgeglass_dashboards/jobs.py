"""Pictures that take seconds (t-SNE, UMAP) are made in the background: asked for once, drawn when they are there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_KEPT = 64


class Jobs:
    """Results by key, made one after the other in a thread; the last 64 are kept."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._jobs: OrderedDict[Any, Future[Any]] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Any]) -> Any | None:
        """The result for a key; None while it is being made.

        Raises:
            Exception: what ``make`` raised.
        """
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = self._pool.submit(make)
            self._trim()
        return job.result() if job.done() else None

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The result for a key, made at once where it was not made before."""
        if key not in self._jobs:
            made: Future[Any] = Future()
            made.set_result(make())
            self._jobs[key] = made
            self._trim()
        return self._jobs[key].result()

    def _trim(self) -> None:
        while len(self._jobs) > _KEPT:
            self._jobs.popitem(last=False)[1].cancel()


class JobsAtOnce(Jobs):
    """The same for a file that is written once and asks for nothing again: each result is waited for."""

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """The result for a key."""
        return self.once(key, make)
