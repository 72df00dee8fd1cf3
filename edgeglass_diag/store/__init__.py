"""The run directory: ``run.json``, ``signals.sqlite`` and ``embeddings/``. No torch, no pickle.

One process writes (``RunWriter``), any number read at the same time (``Run``); nobody waits for anybody.
"""

from edgeglass_diag.folders import find_runs, is_alive
from edgeglass_diag.store.matrix import Matrix
from edgeglass_diag.store.reader import Run, load
from edgeglass_diag.store.writer import RunWriter

__all__ = ["Matrix", "Run", "RunWriter", "find_runs", "is_alive", "load"]
