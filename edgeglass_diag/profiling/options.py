"""Options of a profile. No torch: the profiled program imports it when it needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER, TRACES = "profile", "*.pt.trace.json"


@dataclass(frozen=True)
class ProfileOptions:
    """Which optimizer steps are traced.

    Attributes:
        steps: number of traced steps.
        skip: steps before them, at least 1; the last of these warms the profiler up.
        stop: whether the training ends after the traced steps.
    """

    steps: int
    skip: int
    stop: bool = False


def traces(run: Path) -> list[Path]:
    """Return the trace files in a run folder, one or more for each process, sorted by name."""
    return sorted((run / FOLDER).glob(TRACES))
