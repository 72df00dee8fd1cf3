"""How a run stands, by what its process noted and by whether that process lives."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from edgeglass_diag.liveness import has_lived_since, identity_of, is_alive
from edgeglass_diag.records import RecordState, RunStatus, UsageError
from edgeglass_diag.store.state import Heartbeat, read_state

MAX_RANKS = 65536


def status_of(folder: Path, header: Mapping[str, Any]) -> RunStatus:
    """Return how a run stands; failed too where its process died without noting its end.

    Args:
        folder: of the run.
        header: content of its ``run.json``.
    """
    status = RunStatus(header["status"])
    if status != RunStatus.RUNNING:
        return status
    noted = _noted(folder)
    if noted is not None and noted.status != RunStatus.RUNNING:
        return noted.status  # run.json could not be written any more
    return RunStatus.RUNNING if _lives(header, noted) else RunStatus.FAILED


def record_of(folder: Path) -> RecordState | None:
    """Return what the process noted of its record; None in runs of versions that did not note it.

    Raises:
        UsageError: if it was changed after it was written.
    """
    noted = read_state(folder)
    return None if noted is None else noted.record


def missing_ranks(headers: Iterable[Mapping[str, Any]], present: Collection[int]) -> tuple[int, ...]:
    """Return the ranks that have no record, by the number of ranks that the headers of those present tell."""
    size = max((int(header.get("world_size") or 0) for header in headers), default=0)
    return tuple(rank for rank in range(min(size, MAX_RANKS)) if rank not in present)


def _lives(header: Mapping[str, Any], noted: Heartbeat | None) -> bool:
    if "process" not in header:
        return has_lived_since(int(header["pid"]), header.get("created"))
    silent_for = None if noted is None else time.time() - noted.beat
    return is_alive(identity_of(header["process"]), silent_for=silent_for)


def _noted(folder: Path) -> Heartbeat | None:
    """Return the heartbeat; a file that is damaged tells nothing here, and whoever reads the record says so."""
    try:
        return read_state(folder)
    except UsageError:
        return None
