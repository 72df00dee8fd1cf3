"""Which of several ranks ended a training that failed, and by what."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.folders import read_header
from edgeglass_diag.liveness import BEAT
from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.store import standing
from edgeglass_diag.store.state import read_state

if TYPE_CHECKING:
    from edgeglass_diag.store.reader import Run

_OF_OTHERS = re.compile(
    r"^([\w.]*\.)?(Dist\w*Error|SignalException|ChildFailedError)\b|[/\\]gloo[/\\]|\bNCCL\b|Connection closed by peer|"
    r"Watchdog caught collective"
)
"""Errors that a rank has as others are gone: of a collective operation, its store, or the launcher that ends it."""

_TOGETHER = 2 * BEAT
"""Most seconds between the last signs of life of processes that were ended together."""

_LONGEST = 300
"""Most characters of an error that are repeated."""


class _Kind(IntEnum):
    """How much an ending says of what ended the training, the most telling first."""

    ERROR = 0
    WITHOUT_WORD = 1
    OF_OTHERS = 2


@dataclass(frozen=True, order=True)
class _Ending:
    """How a rank that failed has ended: its kind, when, which rank, its steps, and its error."""

    kind: _Kind
    when: float
    rank: int
    steps: int
    error: str


def failure_of(run: Run) -> str:
    """Return what ended a run that failed, empty where nothing is known.

    Of several ranks it is the error of the one that ended first, not that of those whose collective operation then
    failed. One that has noted no end was killed: it counts from its last sign of life on.
    """
    ranks = run.ranks
    own = str(run.result.get("error", ""))
    missing = standing.missing_ranks([run.header, *(each.header for each in ranks.values())], ranks.keys())
    if len(ranks) < 2 and not missing:
        return own
    found = sorted(ending for rank, each in ranks.items() if (ending := _ending(rank, each)) is not None)
    if not found:
        return own
    if len(found) == len(ranks) and _are_ended_together(found):
        return (
            f"all {len(found)} ranks were ended together after at least {min(each.steps for each in found)} steps and "
            "noted no error, as a training that hangs is ended, or all processes where memory runs out"
        )
    behind = min((each.when for each in found if each.kind is _Kind.OF_OTHERS), default=math.inf)
    # A rank that lived on when others had failed already was ended with them, as by a launcher.
    found.sort(key=lambda each: each.kind is _Kind.WITHOUT_WORD and each.when > behind)
    if found[0].kind is _Kind.OF_OTHERS and missing:
        return f"rank {missing[0]} has left no record; then {_said(found[0])}"
    waiting = [str(each.rank) for each in found[1:] if each.kind is _Kind.OF_OTHERS]
    if found[0].kind is _Kind.OF_OTHERS or not waiting:
        return _said(found[0])
    shown = f"rank{'' if len(waiting) == 1 else 's'} {', '.join(waiting[:8])}{' and more' if len(waiting) > 8 else ''}"
    return f"{_said(found[0])} ({shown} failed behind it, in what all ranks do together)"


def _are_ended_together(found: Sequence[_Ending]) -> bool:
    """Return whether all were killed without a word at about the same time, so that no rank is the one that ended."""
    times = [each.when for each in found]
    return all(each.kind is _Kind.WITHOUT_WORD for each in found) and max(times) - min(times) <= _TOGETHER


def _ending(rank: int, run: Run) -> _Ending | None:
    header = _header(run)
    if standing.status_of(run.folder, header) != RunStatus.FAILED:
        return None
    error = " ".join(str(header.get("result", {}).get("error", "")).split())
    steps = run.record.taken
    if not isinstance(header.get("ended"), (int, float)):
        said = "its process was killed, as by the system where memory runs out, and noted no error"
        return _Ending(_Kind.WITHOUT_WORD, _last_sign(run.folder), rank, steps, said)
    kind = _Kind.OF_OTHERS if _OF_OTHERS.search(error) else _Kind.ERROR
    return _Ending(kind, float(header["ended"]), rank, steps, error or "an error that was not noted")


def _header(run: Run) -> Mapping[str, Any]:
    try:
        return read_header(run.folder)
    except UsageError:
        return run.header


def _last_sign(folder: Path) -> float:
    try:
        noted = read_state(folder)
    except UsageError:
        return 0.0
    return 0.0 if noted is None else noted.beat


def _said(ending: _Ending) -> str:
    words = ending.error if len(ending.error) <= _LONGEST else f"{ending.error[: _LONGEST - 3]}..."
    least = "at least " if ending.kind is _Kind.WITHOUT_WORD else ""  # the last ones were not noted any more
    return f"rank {ending.rank} ended after {least}{ending.steps} step{'' if ending.steps == 1 else 's'}: {words}"
