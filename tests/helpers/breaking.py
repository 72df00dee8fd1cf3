"""Ways in which the place of a record breaks while a program trains; called by the program itself."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

HELD: list[sqlite3.Connection] = []


def fill_disk(folder: Path) -> None:
    """Fill the disk of the folder; it must be a small one."""
    with suppress_full(), (folder.parent / "fill").open("wb", 0) as stream:
        while True:
            stream.write(b"x" * 2**14)


class suppress_full:  # noqa: N801
    """A block that ends when a disk is full."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        return isinstance(error, OSError)


def free_disk(folder: Path) -> None:
    """Undo ``fill_disk``."""
    (folder.parent / "fill").unlink()


def remove(folder: Path) -> None:
    """Remove the folder, into which the record is being written."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def move(folder: Path) -> None:
    """Move the folder."""
    folder.rename(folder.parent / "elsewhere")


def move_back(folder: Path) -> None:
    """Undo ``move``."""
    (folder.parent / "elsewhere").rename(folder)


def make_read_only(folder: Path) -> None:
    """Ask for the disk of the folder to be read-only, which a file that is open for writing may forbid."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder.parent)], check=False, capture_output=True)


def take_descriptors(folder: Path) -> None:
    """Allow no further file descriptor."""
    spare = os.open(os.devnull, os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def take_threads(folder: Path) -> None:
    """Allow no further thread."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    threading._start_new_thread = refuse  # type: ignore[attr-defined]


def truncate(folder: Path) -> None:
    """Cut all files of the record to nothing."""
    for file in folder.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)


def lock(folder: Path) -> None:
    """Hold the lock of the store."""
    db = sqlite3.connect(folder / "signals.sqlite", isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    HELD.append(db)


def unlock(folder: Path) -> None:
    """Undo ``lock``."""
    HELD.pop().close()


WAYS: dict[str, Callable[[Path], None]] = {
    "full": fill_disk, "removed": remove, "moved": move, "read-only": make_read_only,
    "no-descriptors": take_descriptors, "no-threads": take_threads, "truncated": truncate, "locked": lock,
}  # fmt: skip
UNDOING: dict[str, Callable[[Path], None]] = {"full": free_disk, "moved": move_back, "locked": unlock}
