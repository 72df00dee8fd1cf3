"""Processes of our own that share the cores, for trainings side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor


def default_workers() -> int:
    """As many as there are cores, and at most four: each holds torch and a training."""
    return max(1, min(4, os.cpu_count() or 1))


def processes(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, each with its share of the threads; Ctrl-C is the parent's to answer."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    """Before torch is imported: two trainings with all cores each slow one another manyfold."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
