"""Processes of our own that share the cores, for trainings side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def default_workers() -> int:
    """As many as there are cores, and at most four: each holds torch and a training."""
    return max(1, min(4, os.cpu_count() or 1))


def processes(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes with a share of the threads each; Ctrl-C is the parent's, and its end is theirs."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    """Before torch is imported: two trainings with all cores each slow one another manyfold."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A parent that is killed closes nothing: its children would train on, and then wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
