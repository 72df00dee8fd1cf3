"""A pool of worker processes that share the cores, for concurrent trainings."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def default_workers() -> int:
    """Return the number of cores, at most 4: each worker holds torch and a training in memory."""
    return max(1, min(4, os.cpu_count() or 1))


def processes(workers: int) -> ProcessPoolExecutor:
    """Return a pool of spawned processes that share the threads equally, ignore Ctrl-C and end with the parent."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    """Set the number of threads before torch is imported: two trainings with all cores each are many times slower."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Exit when the parent ends: a killed parent does not close its pool, and the worker would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
