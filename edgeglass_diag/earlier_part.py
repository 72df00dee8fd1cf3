"""What an earlier process has recorded of a run that goes on, handed to the rules. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeglass_diag.records import Cut
from edgeglass_diag.rules import Engine
from edgeglass_diag.store import Run


def take_over(engine: Engine, folder: Path, cuts: Sequence[Cut]) -> None:
    """Let an engine know what was recorded and found before, as far as it keeps it.

    Args:
        engine: has judged nothing yet.
        folder: of the store.
        cuts: where the run went on, the newest last.

    Raises:
        UsageError: if the store cannot be read; the engine then judges what follows alone.
    """
    engine.history.cuts = tuple(cuts)
    with Run(folder) as run:
        engine.take_over(run.kept_windows(), run.kept_findings)
