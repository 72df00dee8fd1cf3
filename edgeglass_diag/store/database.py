"""A store opened for reading: by many at a time, leaving no trace, and with one error for whatever is wrong in it."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgeglass_diag.records import UsageError
from edgeglass_diag.store.schema import COLUMNS, FILE, checksum, file_checksum

_JOURNALS = ("-journal", "-wal")
_WAIT = 30.0
"""Seconds for which a reader waits while the writer commits, which takes some milliseconds."""

UNREADABLE = (
    sqlite3.Error, sqlite3.Warning, struct.error, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, RecursionError, MemoryError, OSError,
)  # fmt: skip
"""What reading a store of any content can raise."""


class Database:
    """The store of a run.

    A run that has ended is opened as what no process changes, so that it can lie on a read-only disk and reading
    leaves nothing behind. What a killed process has left half written is put right in a copy.

    Args:
        folder: of the run.
        live: whether its process may be writing.
        sealed: whether its rows have checksums.
        crc: checksum of the whole file, which its process noted at the end; None where it did not.

    Raises:
        UsageError: if there is no store, or it is no database of this kind.
    """

    def __init__(self, folder: Path, *, live: bool, sealed: bool, crc: int | None = None) -> None:
        self.file = folder / FILE
        self._sealed = sealed
        self._open = ExitStack()
        if not self.file.is_file():
            raise UsageError(f"not a whole run: {folder} has no {FILE}")
        with self.readable():
            if not live and crc is not None and file_checksum(self.file) != crc:
                raise UsageError(
                    f"{self.file} is damaged: it was changed after the run had ended (its checksum differs)"
                )
            try:
                self._db = self._connect(live=live)
                self._check()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connection and remove the copy, if one was made."""
        self._open.close()

    @property
    def version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self.readable():
            return self._db.execute(query, values).fetchall()

    def select(
        self, table: str, rest: str = "", values: Sequence[Any] = (), *, columns: Sequence[str] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the columns of rows of a table, each row compared with its checksum.

        Args:
            table: its name.
            rest: of the query, as SQL.
            values: for the places in it.
            columns: those of the table in this version of the store; those of today if None.

        Raises:
            UsageError: if a row was changed after it was written.
        """
        columns = COLUMNS[table] if columns is None else columns
        wanted = (*columns, "crc") if self._sealed else columns
        found = self.rows(f"SELECT {', '.join(wanted)} FROM {table} {rest}", values)
        if not self._sealed:
            return found
        for *kept, crc in found:
            if checksum(kept) != crc:
                raise UsageError(
                    f"{self.file} is damaged: a row of the table {table} was changed after it was written "
                    "(its checksum differs)"
                )
        return [row[:-1] for row in found]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A block that sees one state of the store, whatever is written meanwhile, and is ``readable``."""
        with self.readable():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("COMMIT")

    @contextmanager
    def readable(self) -> Iterator[None]:
        """A block in which whatever the store's content brings about is a UsageError that names the file."""
        try:
            yield
        except UsageError:
            raise
        except UNREADABLE as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UsageError(f"{self.file} cannot be read as a store of signals ({said})") from error

    def _connect(self, *, live: bool) -> sqlite3.Connection:
        if not live and any(_has_content(self.file, suffix) for suffix in _JOURNALS):
            return self._connection(self._copied(), "mode=rw")
        if not live:
            return self._connection(self.file, "mode=ro&immutable=1")
        try:
            connected = self._connection(self.file, "mode=ro")
            connected.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            return connected
        except sqlite3.OperationalError:  # its process was killed just now, in the middle of a write
            return self._connection(self._copied(), "mode=rw")

    def _connection(self, file: Path, mode: str) -> sqlite3.Connection:
        address = f"{file.resolve().as_uri()}?{mode}"
        db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None, timeout=_WAIT)
        self._open.callback(db.close)
        db.execute("PRAGMA trusted_schema=OFF")
        return db

    def _copied(self) -> Path:
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="edgeglass-diag-")))
        for suffix in ("", *_JOURNALS):
            place = self.file.with_name(self.file.name + suffix)
            if place.is_file():
                shutil.copyfile(place, folder / place.name)
        return folder / self.file.name

    def _check(self) -> None:
        """Ask for a table that every store has; views and triggers, which could compute for ever, are in none."""
        self._db.execute("SELECT COUNT(*) FROM windows").fetchone()
        others = self._db.execute("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchone()
        if others is not None:
            raise UsageError(f"{self.file} is no store of signals: it has {others[0]!r}, which is no table")


def _has_content(file: Path, suffix: str) -> bool:
    journal = file.with_name(file.name + suffix)
    return journal.is_file() and journal.stat().st_size > 0
