"""The tables of ``signals.sqlite``, and how it is opened.

What a window measured of one signal is one *slice*: a step, a layout (which sites, how many components each) and the
values behind one another. Many slices of one signal and layout become a *stretch*: the same values turned round, one
*block* per site, with summaries over the components. A reading is in a slice or in a block, never in both,
as one transaction moves it.

``seq`` numbers the calls that wrote, from 1, and is kept by slices and stretches: what is new to a reader is what has
a higher one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeglass_diag.records import UsageError

SCHEMA = """
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE signals (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, entries BLOB NOT NULL UNIQUE);
CREATE TABLE windows (step INTEGER PRIMARY KEY, time REAL NOT NULL);
CREATE TABLE slices (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, seq INTEGER NOT NULL, step INTEGER NOT NULL,
    layout INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX slices_by_signal ON slices (signal, seq);
CREATE TABLE stretches (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, last INTEGER NOT NULL, layout INTEGER NOT NULL,
    seqs BLOB NOT NULL, steps BLOB NOT NULL);
CREATE INDEX stretches_by_signal ON stretches (signal, last);
CREATE TABLE blocks (stretch INTEGER NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (stretch, place));
CREATE TABLE summaries (stretch INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (stretch, kind));
CREATE TABLE sites (path TEXT NOT NULL, kind TEXT NOT NULL, position INTEGER, parents TEXT,
    coverage TEXT, detail TEXT, facts TEXT, PRIMARY KEY (path, kind));
CREATE TABLE origins (name TEXT PRIMARY KEY, shape TEXT, std REAL, writes TEXT);
CREATE TABLE findings (
    id INTEGER PRIMARY KEY, code TEXT NOT NULL, site TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (code, site));
"""


def create(folder: Path) -> sqlite3.Connection:
    """A new store in ``folder``, for one writer."""
    db = sqlite3.connect(folder / "signals.sqlite", check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.executescript(SCHEMA)
    return db


def open_store(folder: Path) -> sqlite3.Connection:
    """The store in ``folder``, for reading.

    Raises:
        UsageError: when there is none, or it is no database of this kind.
    """
    file = folder / "signals.sqlite"
    if not file.is_file():
        raise UsageError(f"not a whole run: {folder} has no signals.sqlite")
    try:
        db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        db.execute("SELECT COUNT(*) FROM windows").fetchone()
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{file} cannot be read as a store of signals ({error})") from error
    return db


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """A block that sees one state of the store, whatever is written meanwhile."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")
