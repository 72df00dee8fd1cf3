"""``state.json``: how a record stands, in a small file of fixed size that is written over in place.

Its place on the disk is taken when the run begins, so that it can be written when the disk is full, and its
descriptor is kept, so that it can be written when no other can be had. A checksum tells a torn write.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeglass_diag.records import Gap, RecordState, RunStatus, UsageError

NAME = "state.json"
SIZE = 16384
"""Bytes of the file."""

MAX_GAPS = 32
"""Gaps that are kept one by one; further ones are added to the last."""

_MAX_TEXT = 300
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What ``state.json`` holds.

    Attributes:
        status: how the run stands, as far as its own process could note it.
        beat: when it was written, in seconds since 1970.
        record: what was recorded and what was not.
    """

    status: RunStatus
    beat: float
    record: RecordState


class StateFile:
    """The file while its run is written, locked so that no second process writes to the run.

    The lock (flock) ends with the process, however that ends. Where a file system has none, the record's process is
    looked up alone.

    Args:
        folder: of the run.
        again: whether the run is there already.

    Raises:
        BlockingIOError: if another process, or another writer of this one, has the lock.
        OSError: if it cannot be made.
    """

    def __init__(self, folder: Path, *, again: bool = False) -> None:
        self._path = folder / NAME
        new = 0 if again else os.O_EXCL
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | new, 0o644)
        self._made, self._owner = os.fstat(self._descriptor), os.getpid()
        _lock(self._descriptor)

    @property
    def is_in_place(self) -> bool:
        """Return whether the file still lies where it was made: the run folder was not removed or moved."""
        try:
            return os.path.samestat(os.stat(self._path), self._made)
        except OSError:
            return False

    @property
    def is_open(self) -> bool:
        """Return whether the descriptor is still this file's: a program may have closed it and opened others."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._made)
        except OSError:
            return False

    def write(self, status: RunStatus, record: RecordState) -> None:
        """Write over the whole file.

        Raises:
            OSError: if it cannot be written.
        """
        if not self.is_open:
            self._open_again()
        os.pwrite(self._descriptor, _text(status, record).ljust(SIZE), 0)

    def close(self) -> None:
        """Close the file; a copy of the process that has not closed it yet does not keep the lock."""
        if not self.is_open:
            return
        if os.getpid() == self._owner:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def _open_again(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        if not os.path.samestat(os.fstat(descriptor), self._made):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "the run folder was removed or moved", str(self._path))
        _lock(descriptor)  # the program has closed the one that was locked
        self._descriptor = descriptor


def _lock(descriptor: int) -> None:
    """Lock a file, or close it and raise BlockingIOError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(errno.EWOULDBLOCK, "another process writes to this run") from error
    except OSError:
        return  # a file system without locks


def read_state(folder: Path) -> Heartbeat | None:
    """Return how a record stands; None where the run has no such file, as runs of versions 1 to 3.

    Raises:
        UsageError: if the file cannot be read, or was changed after it was written.
    """
    file = folder / NAME
    if not file.exists():
        return None
    for attempt in range(_TRIES):
        try:
            return _parse(file)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            if attempt == _TRIES - 1:
                raise UsageError(f"{file} is damaged or was changed after it was written ({error})") from error
            time.sleep(0.01)  # a write was under way
    return None


def _parse(file: Path) -> Heartbeat:
    if not file.is_file():
        raise ValueError("it is no regular file")
    with file.open("rb") as stream:
        text = stream.read(SIZE + 1).decode().rstrip()
    whole = json.loads(text)
    content = json.dumps(whole["state"], separators=(",", ":"))
    if zlib.crc32(content.encode()) != whole["crc32"]:
        raise ValueError("its checksum differs")
    state = whole["state"]
    return Heartbeat(RunStatus(state["status"]), float(state["beat"]), _record(state["record"]))


def _record(kept: Mapping[str, Any]) -> RecordState:
    gaps = tuple(Gap(**gap) for gap in kept["gaps"])
    return RecordState(**{**kept, "gaps": gaps, "missing_ranks": tuple(kept["missing_ranks"])})


def _text(status: RunStatus, record: RecordState) -> bytes:
    """Return the content of the file, its texts cut as far as they must be."""
    for most in (_MAX_TEXT, _MAX_TEXT // 4, _MAX_TEXT // 16, 0):
        state = {"status": status, "beat": time.time(), "record": asdict(_shortened(record, most))}
        content = json.dumps(state, separators=(",", ":"))
        text = f'{{"crc32":{zlib.crc32(content.encode())},"state":{content}}}\n'.encode()
        if len(text) <= SIZE:
            break
    return text


def _shortened(record: RecordState, most: int) -> RecordState:
    """Return the record with lists cut to ``MAX_GAPS`` and texts to ``most`` characters."""
    gaps = tuple(replace(gap, reason=gap.reason[:most]) for gap in record.gaps)
    if len(gaps) > MAX_GAPS:
        rest = gaps[MAX_GAPS - 1 :]
        joined = replace(rest[0], last=rest[-1].last, windows=sum(gap.windows for gap in rest))
        gaps = (*gaps[: MAX_GAPS - 1], joined)
    failed = {code: text[:most] for code, text in list(record.failed_rules.items())[:MAX_GAPS]}
    return replace(record, gaps=gaps, stopped=record.stopped[: max(most, 20)], failed_rules=failed)
