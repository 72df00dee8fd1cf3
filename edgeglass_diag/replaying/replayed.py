"""What became of a replay: how it ended, read from its record and the log of its program. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from edgeglass_diag.folders import is_run, rank_folders, read_header
from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.replaying.mirror import Mirror
from edgeglass_diag.replaying.plan import Plan

REFUSAL = "refusal.txt"
"""File in the scratch folder that says by which refusal the program ended; there is none if it did not."""

_TAIL_LINES, _TAIL_BYTES = 20, 20_000


class Ending(StrEnum):
    """How a replay ended."""

    STOPPED = "stopped"
    """After the steps of its plan."""
    FINISHED = "finished"
    """The program came to its end before."""
    REFUSED = "refused"
    """The program ended as it was not allowed to write a file."""
    CRASHED = "crashed"
    """The program failed, was killed, or recorded nothing."""
    TIMED_OUT = "timed out"
    """It took longer than it might."""


@dataclass(frozen=True)
class Replayed:
    """The result of a replay.

    Attributes:
        key: of its plan.
        folder: of its run.
        ending: how it ended.
        steps: optimizer steps after which it was stopped, 0 where it was not.
        error: what ended it, in one line; empty where nothing did.
        refused: files that it may not write, in order; a program may go on without one.
        applied: label of each intervention -> how often it was made, on all ranks together.
        places: label of an intervention -> ``file:line`` of the program where what it changes is set, where that is
            known; the file is absolute.
        guard: what kept it from writing elsewhere.
        log: file with the output of the program.
        tail: its last lines.
        seconds: how long it took.
    """

    key: str
    folder: str
    ending: Ending
    steps: int = 0
    error: str = ""
    refused: tuple[str, ...] = ()
    applied: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    guard: str = ""
    log: str = ""
    tail: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_resolved(self) -> bool:
        """Whether its record tells how the training goes."""
        return self.ending in (Ending.STOPPED, Ending.FINISHED)

    @property
    def unapplied(self) -> tuple[str, ...]:
        """Return the interventions that were never made: the replay says nothing about them."""
        return tuple(label for label, count in self.applied.items() if not count)

    def as_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Replayed:
        """Return what ``as_text`` wrote."""
        content: dict[str, Any] = json.loads(text)
        lists = {name: tuple(content[name]) for name in ("refused", "tail")}
        return cls(**{**content, **lists, "ending": Ending(content["ending"])})


def read_replayed(key: str, plan: Plan, log: Path, *, status: int | None, seconds: float) -> Replayed:
    """Return what became of a replay that has ended.

    Args:
        key: of its plan.
        plan: what it was to do, with its folders.
        log: file with the output of the program.
        status: exit status; None where it was ended as it took too long.
        seconds: how long it took.
    """
    folder, refusal = Path(plan.out), Path(plan.scratch) / REFUSAL
    refused_with = refusal.read_text() if refusal.is_file() else ""
    main = read_header(folder) if is_run(folder) else {}
    trained = [read_header(place) for place in rank_folders(folder).values()] if main else []
    results = [header.get("result", {}) for header in (main, *trained)]
    refused = tuple(dict.fromkeys(path for result in results for path in result.get("refused", ())))
    error = next((str(text) for result in (*results[1:], results[0]) if (text := result.get("error"))), "")
    steps = max((result.get("stopped_after", 0) for result in results), default=0)
    return Replayed(
        key,
        str(folder),
        Ending.REFUSED if refused_with else _ending(main, steps, status),
        steps=steps,
        error="" if steps else refused_with or _said(error, status),
        refused=refused,
        applied=_sum([result.get("applied", {}) for result in results]),
        places=_places(main.get("replay_of", {}).get("mirror", ""), results),
        guard=main.get("replay_of", {}).get("guard", ""),
        log=str(log),
        tail=_tail(log),
        seconds=seconds,
    )


def _ending(main: Mapping[str, Any], steps: int, status: int | None) -> Ending:
    if steps:
        return Ending.STOPPED
    if status is None:
        return Ending.TIMED_OUT
    finished = main.get("status") == RunStatus.FINISHED and status == 0
    return Ending.FINISHED if finished else Ending.CRASHED


def _said(error: str, status: int | None) -> str:
    if error or status in (0, None):
        return error
    return f"ended with exit status {status}"


def _sum(counts: list[Mapping[str, int]]) -> dict[str, int]:
    return {label: sum(each.get(label, 0) for each in counts) for label in dict.fromkeys(n for c in counts for n in c)}


def _places(mirror: str, results: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the places that any rank tells, the first first, with the paths of the program and not of its mirror."""
    told = {label: place for result in reversed(results) for label, place in result.get("places", {}).items()}
    return {label: Mirror(mirror).original(place) if mirror else place for label, place in told.items()}


def _tail(log: Path) -> tuple[str, ...]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return tuple(line for line in lines if line.strip())[-_TAIL_LINES:]


def remembered(file: Path, key: str) -> Replayed | None:
    """Return a result that was kept in a file and whose record can be read; None if it is to be made (again)."""
    try:
        known = Replayed.parse(file.read_text())
        read_header(Path(known.folder))
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return None
    return known if known.key == key and known.ending is not Ending.TIMED_OUT else None
