"""Waits for conditions. The one limit ends a hang; on a busy machine it decides nothing."""

import os
import time

from edgeglass_diag.records import UsageError

PATIENCE = float(os.environ.get("EDGEGLASS_TEST_PATIENCE", "300"))
"""Seconds after which a test gives up."""


def until(condition, what, *, between=0.05, errors=()):
    """Return the first true value of ``condition()``; one of ``errors`` counts as not yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            found = condition()
        except errors:
            found = None
        if found:
            return found
        time.sleep(between)
    raise AssertionError(f"waited {PATIENCE:g} s: {what}")


def until_step(folder, step, process=None):
    """Wait until the run in ``folder`` has recorded ``step``; a ``process`` that ends before is a failure."""
    from edgeglass_diag.store import load

    def recorded():
        ended = None if process is None else process.poll()
        with load(folder) as run:
            reached = run.last_step >= step
        assert reached or ended is None, process.communicate()
        return reached

    until(recorded, f"step {step} is recorded in {folder}", errors=UsageError)
