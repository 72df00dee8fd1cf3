"""Processes of our own that share the cores, for trainings side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def default_workers() -> int:
    """Return the number of cores, at most four: each worker holds torch and a training."""
    return max(1, min(4, os.cpu_count() or 1))


def processes(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes that share the threads, ignore Ctrl-C, and end with their parent."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    """Limit the threads before torch is imported: trainings that use all cores each slow one another down."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """End this process when its parent ends; one that is killed would leave it waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
