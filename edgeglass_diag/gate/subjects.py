"""What a run is in a report of findings: the source that stands for it, and where its relative names begin."""

from __future__ import annotations

from pathlib import Path

from edgeglass_diag.gate.results import Judged
from edgeglass_diag.programs.targets import Program, source_of
from edgeglass_diag.records import RunStatus
from edgeglass_diag.run_verdict import stopped_as_asked
from edgeglass_diag.store import Run


def of_run(run: Run, name: str = "") -> Judged:
    """Return the findings of a run.

    Args:
        run: its record.
        name: tells it apart from others of the same command.
    """
    folder = Path(str(run.header.get("folder") or Path.cwd()))
    file = _source(run, folder)
    return Judged(run.findings, name, None if file is None else folder / file, folder)


def shortfall(run: Run) -> str:
    """Return why a run may have had more findings than it has; empty where it came to its own end."""
    if run.status is RunStatus.FINISHED or stopped_as_asked(run):
        return ""
    return f"{run.name} did not come to its own end ({run.status})"


def _source(run: Run, folder: Path) -> Path | None:
    """Return the program of a run: the one that was watched, or the script in which its watch stands."""
    program = run.header.get("program")
    if isinstance(program, dict):
        return source_of(Program(program["kind"], str(program["target"])), folder)
    words = run.header.get("command") or [""]
    return Path(words[0]) if words[0].endswith(".py") else None
