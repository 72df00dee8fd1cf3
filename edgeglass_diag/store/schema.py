"""The tables of ``signals.sqlite``, the checksum of each row, and how a writer opens it.

What a window measured of one signal is one *slice*: a step, a layout (which sites, how many components each) and the
values behind one another. Many slices of one signal and layout become a *stretch*: the same values turned round, one
*block* per site, with summaries over the components. A reading is in a slice or in a block, never in both,
as one transaction moves it.

``seq`` numbers the calls that wrote, from 1, and is kept by slices and stretches: what is new to a reader is what has
a higher one.

Changes go through a rollback journal. A write-ahead log would need its index mapped into the memory of the training's
process, which a truncation of that file from outside ends by SIGBUS.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

FILE = "signals.sqlite"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "names": ("id", "name"),
    "signals": ("id", "name"),
    "layouts": ("id", "entries"),
    "windows": ("step", "time"),
    "slices": ("signal", "seq", "step", "layout", "data"),
    "stretches": ("id", "signal", "last", "layout", "seqs", "steps"),
    "blocks": ("stretch", "place", "data"),
    "summaries": ("stretch", "kind", "data"),
    "sites": ("path", "kind", "position", "parents", "coverage", "detail", "facts"),
    "origins": ("name", "shape", "std", "writes"),
    "findings": ("code", "site", "record"),
}
"""What the checksum of a row of each table is made of."""

SCHEMA = """
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL);
CREATE TABLE signals (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, entries BLOB NOT NULL UNIQUE, crc INTEGER NOT NULL);
CREATE TABLE windows (step INTEGER PRIMARY KEY, time REAL NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE slices (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, seq INTEGER NOT NULL, step INTEGER NOT NULL,
    layout INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX slices_by_signal ON slices (signal, seq);
CREATE TABLE stretches (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, last INTEGER NOT NULL, layout INTEGER NOT NULL,
    seqs BLOB NOT NULL, steps BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX stretches_by_signal ON stretches (signal, last);
CREATE TABLE blocks (
    stretch INTEGER NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL,
    UNIQUE (stretch, place));
CREATE TABLE summaries (
    stretch INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE (stretch, kind));
CREATE TABLE sites (path TEXT NOT NULL, kind TEXT NOT NULL, position INTEGER, parents TEXT,
    coverage TEXT, detail TEXT, facts TEXT, crc INTEGER NOT NULL, PRIMARY KEY (path, kind));
CREATE TABLE origins (name TEXT PRIMARY KEY, shape TEXT, std REAL, writes TEXT, crc INTEGER NOT NULL);
CREATE TABLE findings (id INTEGER PRIMARY KEY, code TEXT NOT NULL, site TEXT NOT NULL, record TEXT NOT NULL,
    crc INTEGER NOT NULL, UNIQUE (code, site));
"""

SETTINGS = ("journal_mode=TRUNCATE", "synchronous=NORMAL", "mmap_size=0", "cache_spill=OFF")
"""Pragmas of the writer."""

Value = int | float | str | bytes | None


def checksum(values: Iterable[Value]) -> int:
    """Return the CRC32 of the values of a row, each with its type."""
    parts: list[bytes] = []
    for value in values:
        if type(value) is bytes:  # as the values of a slice
            parts += b"b%d" % len(value), value
            continue
        if isinstance(value, float):
            value = None if value != value else value + 0.0  # SQLite keeps no NaN and no negative zero
        kind, text = _kind_and_text(value)
        parts += b"%c%d" % (kind, len(text)), text
    return zlib.crc32(b"".join(parts))


def _kind_and_text(value: Value) -> tuple[bytes, bytes]:
    if isinstance(value, bytes):
        return b"b", value
    if isinstance(value, str):
        return b"s", str(value).encode()
    return b"n", repr(value).encode()


def file_checksum(file: Path) -> int:
    """Return the CRC32 of a file.

    Raises:
        OSError: if it cannot be read.
    """
    crc = 0
    with file.open("rb") as stream:
        while part := stream.read(2**20):
            crc = zlib.crc32(part, crc)
    return crc


def insert(db: sqlite3.Connection, table: str, rows: Iterable[tuple[Value, ...]], *, conflict: str = "") -> None:
    """Add rows with their checksums; the transaction is the caller's.

    Args:
        db: the store.
        table: its name.
        rows: values in the order of ``COLUMNS``.
        conflict: what is done with a row that is there already, as SQL at the end; it is replaced where empty.
    """
    columns = (*COLUMNS[table], "crc")
    verb = "INSERT" if conflict else "INSERT OR REPLACE"
    places = ", ".join("?" * len(columns))
    statement = f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({places}) {conflict}"
    db.executemany(statement, ((*row, checksum(row)) for row in rows))


def create(folder: Path) -> None:
    """Make a new store in ``folder``.

    Raises:
        sqlite3.Error: if it cannot be made.
    """
    db = open_for_writing(folder, new=True)
    try:
        db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
    finally:
        db.close()


def open_for_writing(folder: Path, *, new: bool = False) -> sqlite3.Connection:
    """Open the store in ``folder`` for its one writer; transactions begin and end where it says so.

    Raises:
        sqlite3.Error: if it cannot be opened, as where another process holds its lock for longer than a second.
    """
    address = f"{(folder / FILE).absolute().as_uri()}?mode={'rwc' if new else 'rw'}"
    db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None, timeout=1.0)
    try:
        for setting in SETTINGS:
            db.execute(f"PRAGMA {setting}").fetchall()
    except sqlite3.Error:
        db.close()
        raise
    return db


def remove_journal(folder: Path) -> None:
    """Remove the journal, which is empty unless a transaction was cut off: then it puts the store right."""
    journal = folder / f"{FILE}-journal"
    if journal.is_file() and not journal.stat().st_size:
        journal.unlink()
