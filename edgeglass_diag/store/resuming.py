"""Go on with the record of a run whose process has ended or was killed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeglass_diag.folders import VERSION, is_run, rank_folders, read_header
from edgeglass_diag.liveness import BEAT, ProcessIdentity, identity_of
from edgeglass_diag.records import Cut, RecordState, RunStatus, UsageError
from edgeglass_diag.store import standing
from edgeglass_diag.store.schema import FILE, file_checksum, open_for_writing
from edgeglass_diag.store.state import read_state

_OWN = ("every", "rules", "world_size")
"""What ``run.json`` says of the process that goes on; all else stays as the first one wrote it."""
_PAST = ("ended", "result", "store_crc32")


def next_step(folder: Path) -> int:
    """Return the step at which the record of a run goes on: behind the last one that any of its ranks knows of.

    The program's own count is not known: one that goes on from a checkpoint takes some steps again, which then stand
    behind those that were recorded.

    Args:
        folder: of the run; one without a run begins at 0.

    Raises:
        UsageError: if a store cannot be read.
    """
    if not is_run(folder):
        return 0
    return max(_steps_of(place) for place in (folder, *rank_folders(folder).values()))


def header_to_go_on(folder: Path) -> dict[str, Any]:
    """Return the content of ``run.json`` of a run that can go on; to be called by who has its lock.

    Raises:
        UsageError: if it is no run of this version, its process lives, or it was changed after it had ended.
    """
    kept = read_header(folder)
    if kept["version"] != VERSION:
        raise UsageError(f"{folder} is a run of version {kept['version']}, which can be read and not gone on with")
    if standing.status_of(folder, kept) == RunStatus.RUNNING and _lives(folder, kept):
        raise UsageError(f"{folder} is being written by process {kept['pid']}: a run has one writer")
    crc = kept.get("store_crc32")
    if crc is not None and file_checksum(folder / FILE) != crc:
        raise UsageError(f"{folder / FILE} is damaged: it was changed after the run had ended (its checksum differs)")
    return kept


def record_to_go_on(folder: Path) -> RecordState:
    """Return what the record holds; a transaction that a killed process has left is rolled back before.

    Raises:
        UsageError: if ``state.json`` was changed after it was written.
        sqlite3.Error: if the store cannot be opened.
    """
    with closing(open_for_writing(folder)) as db:
        recorded = int(db.execute("SELECT COUNT(*) FROM windows").fetchone()[0])
    (folder / "run.json.tmp").unlink(missing_ok=True)
    try:
        kept = standing.record_of(folder) or RecordState()
    except UsageError:  # its process was killed while it wrote over the file
        kept = RecordState()
    return replace(
        kept, recorded=max(kept.recorded, recorded), stopped="", stopped_at=-1, failed_rules={}, missing_ranks=()
    )


def header_after(kept: Mapping[str, Any], new: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Return the header of a run that goes on at ``step``, with the cut.

    Args:
        kept: the header so far.
        new: what the process that goes on says of itself.
        step: at which it does.
    """
    command = [str(word) for word in new.get("command", ())]
    before = [cut for cut in kept.get("resumed", ()) if cut["step"] < step]  # none was taken since one at this step
    ended = kept.get("status") == RunStatus.FINISHED
    cut = {"step": step, "time": time.time(), "ended": ended, "command": command}
    lasting = {name: value for name, value in kept.items() if name not in _PAST}
    own = {name: new[name] for name in _OWN if new.get(name) is not None}
    process = {"pid": os.getpid(), "process": ProcessIdentity.own().as_facts(), "status": RunStatus.RUNNING}
    return {**new, **lasting, **own, **process, "resumed": [*before, cut] if step else before}


def cuts_of(header: Mapping[str, Any]) -> tuple[Cut, ...]:
    """Return where a run went on, from its header."""
    return tuple(
        Cut(cut["step"], cut["time"], cut.get("ended", False), tuple(cut.get("command", ())))
        for cut in header.get("resumed", ())
    )


def _lives(folder: Path, header: Mapping[str, Any]) -> bool:
    """Return whether the process that last wrote still does, although its lock is free.

    One of another machine counts as alive for minutes: here its signs of life are waited for, which come every
    ``BEAT`` seconds, as a training that was moved to another machine goes on at once.
    """
    if identity_of(header["process"]).is_of_this_machine:
        return int(header["pid"]) != os.getpid()
    before, end = _beat(folder), time.monotonic() + 2.2 * BEAT
    while time.monotonic() < end:
        if _beat(folder) != before:
            return True
        time.sleep(0.2)
    return False


def _beat(folder: Path) -> float | None:
    try:
        noted = read_state(folder)
    except UsageError:
        return None
    return None if noted is None else noted.beat


def _steps_of(folder: Path) -> int:
    """Return the number of steps that a store knows of."""
    try:
        noted = standing.record_of(folder) or RecordState()
    except UsageError:
        noted = RecordState()
    try:
        address = f"{(folder / FILE).absolute().as_uri()}?mode=rw"  # a hot journal can be rolled back
        with closing(sqlite3.connect(address, uri=True, timeout=10.0)) as db:
            newest = db.execute("SELECT MAX(step) FROM windows").fetchone()[0]
    except sqlite3.Error as error:
        raise UsageError(f"{folder / FILE} cannot be read as a store of signals ({error})") from error
    return max(noted.taken, 0 if newest is None else int(newest) + 1)
