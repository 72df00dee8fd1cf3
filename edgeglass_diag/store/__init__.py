"""The run directory: ``run.json``, ``state.json``, ``signals.sqlite`` and ``embeddings/``. No torch, no pickle.

One process writes (``RunWriter``), any number read at the same time (``Run``). A reader waits some milliseconds while
a window is committed, and the writing thread while a reader reads. NumPy is imported with the first thing that is read
or written. What an explanation has shown of the findings stands beside them, in a file of ``edgeglass_diag.marks``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeglass_diag.folders import find_runs
from edgeglass_diag.store.resuming import next_step
from edgeglass_diag.store.writer import RunWriter

if TYPE_CHECKING:
    from edgeglass_diag.store.matrix import Matrix
    from edgeglass_diag.store.reader import Run, load

__all__ = ["Matrix", "Run", "RunWriter", "find_runs", "load", "next_step"]

_HOMES = {"Matrix": "matrix", "Run": "reader", "load": "reader"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeglass_diag.store' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"edgeglass_diag.store.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
