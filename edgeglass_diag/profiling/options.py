"""What was asked for of a profile. No torch: a program decides itself when to load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER, TRACES = "profile", "*.pt.trace.json"


@dataclass(frozen=True)
class ProfileOptions:
    """``steps`` are traced after ``skip``, one at least, which warms up; ``stop`` ends the training then."""

    steps: int
    skip: int
    stop: bool = False


def traces(run: Path) -> list[Path]:
    """The traces in a run folder, of all its processes."""
    return sorted((run / FOLDER).glob(TRACES))
