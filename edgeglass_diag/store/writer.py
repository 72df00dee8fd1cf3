"""Creates a run directory and appends to it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgeglass_diag.folders import FORMAT, VERSION
from edgeglass_diag.records import Finding, Reading, UsageError, Window
from edgeglass_diag.store.compaction import Compactor
from edgeglass_diag.store.embeddings import Embeddings, write_embeddings
from edgeglass_diag.store.layouts import Layout, pack
from edgeglass_diag.store.schema import create


class RunWriter:
    """Creates a run directory and appends to it; to be used by one thread at a time.

    Raises:
        UsageError: when ``folder`` exists and is not empty (nothing is ever overwritten) or cannot be written.
    """

    def __init__(self, folder: Path, *, name: str, header: Mapping[str, object]) -> None:
        self.folder = folder
        self._ids: dict[tuple[str, str], int] = {}
        self._layout_ids: dict[tuple[tuple[int, int], ...], int] = {}
        self._layouts: dict[int, Layout] = {}
        self._seq = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(f"{folder} is not empty: a run needs a new folder, and nothing is overwritten")
            self._header = {
                "format": FORMAT, "version": VERSION, "name": name, "created": time.time(), "pid": os.getpid(),
                "status": "running", **header,
            }  # fmt: skip
            self._db = create(folder)
            self._write_header()  # last: a folder with a header is a run that can be read
        except OSError as error:
            raise UsageError(f"cannot write a run to {folder}: {error.strerror or error}") from error
        except sqlite3.OperationalError as error:
            raise UsageError(f"cannot write a run to {folder}: {error}") from error
        self._compactor = Compactor(self._db, self._layouts.__getitem__)

    def _write_header(self) -> None:
        temporary = self.folder / "run.json.tmp"
        temporary.write_text(json.dumps(self._header, indent=1, default=str), encoding="utf-8")
        temporary.replace(self.folder / "run.json")

    def write(self, window: Window, findings: Iterable[Finding] = ()) -> None:
        """Append a window and the findings it led to in one transaction."""
        with self._db:
            self._seq += 1
            self._db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?)", (window.step, time.time()))
            self._write_readings(window.readings)
            self._db.executemany(
                "INSERT OR REPLACE INTO sites VALUES (?, ?, ?, ?, ?, ?)",
                [(s.path, s.kind, s.order, json.dumps(s.parents), s.label, s.status) for s in window.sites],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?)",
                [
                    (o.name, json.dumps(o.shape), o.std, json.dumps([asdict(w) for w in o.writes]))
                    for o in window.origins
                ],
            )
            self._db.executemany(
                "INSERT INTO findings (code, site, record) VALUES (?, ?, ?) "
                "ON CONFLICT (code, site) DO UPDATE SET record = excluded.record",
                [(f.code, f.site, json.dumps(asdict(f), default=str)) for f in findings],
            )
            self._compactor.work()

    def _write_readings(self, readings: Iterable[Reading]) -> None:
        slices: dict[tuple[str, int], list[Reading]] = {}
        for reading in readings:
            slices.setdefault((reading.signal, reading.step), []).append(reading)
        for (signal, step), group in slices.items():
            number, layout = self._id("signals", signal), self._layout(group)
            self._db.execute(
                "INSERT INTO slices (signal, seq, step, layout, data) VALUES (?, ?, ?, ?, ?)",
                (number, self._seq, step, layout, pack(group)),
            )
            self._compactor.add(number, self._layouts[layout].values)

    def _id(self, table: str, name: str) -> int:
        if (table, name) not in self._ids:
            cursor = self._db.execute(f"INSERT INTO {table} (name) VALUES (?)", (name,))
            self._ids[table, name] = int(cursor.lastrowid or 0)
        return self._ids[table, name]

    def _layout(self, readings: Sequence[Reading]) -> int:
        key = tuple((self._id("names", reading.site), len(reading.values)) for reading in readings)
        if key not in self._layout_ids:
            layout = Layout(*np.array(key, np.int64).T)
            cursor = self._db.execute("INSERT INTO layouts (entries) VALUES (?)", (layout.as_bytes(),))
            self._layout_ids[key] = int(cursor.lastrowid or 0)
            self._layouts[self._layout_ids[key]] = layout
        return self._layout_ids[key]

    def write_embeddings(self, step: int, image: Embeddings, text: Embeddings) -> None:
        """Keep the embeddings of the pairs of a step, (pairs, dims) each."""
        write_embeddings(self.folder, step, image, text)

    def note(self, facts: Mapping[str, object]) -> None:
        """Add facts to ``run.json`` that were not known at the beginning."""
        self._header |= facts
        self._write_header()

    def finish(self, status: str, result: Mapping[str, object]) -> None:
        """Close the store and note how the run ended: ``finished``, ``stopped`` or ``failed``; said once."""
        if "ended" in self._header:
            return
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._header |= {"status": status, "ended": time.time(), "result": dict(result)}
        self._write_header()
