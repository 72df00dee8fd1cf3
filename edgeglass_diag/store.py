"""The run directory: ``run.json`` and ``signals.sqlite`` (one writer, readers never block it). No torch, no pickle.

SQLite has no NaN; a row with neither a value nor a vector is a NaN reading.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.folders import FORMAT, VERSION, rank_folders, read_header
from edgeglass_diag.folders import find_runs as find_runs
from edgeglass_diag.folders import is_alive as is_alive
from edgeglass_diag.ranks import NORMS, merge_findings, sharded_sites, whole_norms
from edgeglass_diag.records import Finding, ParameterOrigin, ParameterWrite, Reading, Severity, Site, UsageError, Window

if TYPE_CHECKING:
    import pandas as pd

_SCHEMA = """
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE windows (step INTEGER PRIMARY KEY, time REAL NOT NULL);
CREATE TABLE readings (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, site INTEGER NOT NULL, signal INTEGER NOT NULL,
    value REAL, vector BLOB);
CREATE INDEX readings_by_signal ON readings (signal, site, step);
CREATE TABLE sites (path TEXT NOT NULL, kind TEXT NOT NULL, position INTEGER, parents TEXT, label TEXT,
    status TEXT, PRIMARY KEY (path, kind));
CREATE TABLE origins (name TEXT PRIMARY KEY, shape TEXT, std REAL, writes TEXT);
CREATE TABLE findings (
    id INTEGER PRIMARY KEY, code TEXT NOT NULL, site TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (code, site));
"""


def load(path: str | Path) -> Run:
    """Open a run directory for reading.

    Raises:
        UsageError: when there is no such folder, or it is not a run of this tool.
    """
    return Run(Path(path))


def _open(folder: Path) -> sqlite3.Connection:
    file = folder / "signals.sqlite"
    if not file.is_file():
        raise UsageError(f"not a whole run: {folder} has no signals.sqlite")
    try:
        db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        db.execute("SELECT COUNT(*) FROM windows").fetchone()
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{file} cannot be read as a store of signals ({error})") from error
    return db


def _encode(values: Sequence[float]) -> tuple[float | None, bytes | None]:
    if len(values) == 1:
        return (None if values[0] != values[0] else values[0]), None
    return None, struct.pack(f"<{len(values)}f", *values)


def _decode(value: float | None, vector: bytes | None) -> tuple[float, ...]:
    if vector is not None:
        return struct.unpack(f"<{len(vector) // 4}f", vector)
    return (float("nan") if value is None else value,)


class RunWriter:
    """Creates a run directory and appends to it; to be used by one thread at a time.

    Raises:
        UsageError: when ``folder`` exists and is not empty (nothing is ever overwritten) or cannot be written.
    """

    def __init__(self, folder: Path, *, name: str, header: Mapping[str, object]) -> None:
        self.folder = folder
        self._names: dict[str, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(f"{folder} is not empty: a run needs a new folder, and nothing is overwritten")
            self._header = {
                "format": FORMAT, "version": VERSION, "name": name, "created": time.time(), "pid": os.getpid(),
                "status": "running", **header,
            }  # fmt: skip
            self._db = sqlite3.connect(folder / "signals.sqlite", check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._write_header()  # last: a folder with a header is a run that can be read
        except OSError as error:
            raise UsageError(f"cannot write a run to {folder}: {error.strerror or error}") from error
        except sqlite3.OperationalError as error:
            raise UsageError(f"cannot write a run to {folder}: {error}") from error

    def _write_header(self) -> None:
        temporary = self.folder / "run.json.tmp"
        temporary.write_text(json.dumps(self._header, indent=1, default=str), encoding="utf-8")
        temporary.replace(self.folder / "run.json")

    def _name(self, name: str) -> int:
        if name not in self._names:
            cursor = self._db.execute("INSERT INTO names (name) VALUES (?)", (name,))
            self._names[name] = int(cursor.lastrowid or 0)
        return self._names[name]

    def write(self, window: Window, findings: Iterable[Finding] = ()) -> None:
        """Append a window and the findings it led to in one transaction."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?)", (window.step, time.time()))
            self._db.executemany(
                "INSERT INTO readings (step, site, signal, value, vector) VALUES (?, ?, ?, ?, ?)",
                [(r.step, self._name(r.site), self._name(r.signal), *_encode(r.values)) for r in window.readings],
            )
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


class Run:
    """A run directory opened for reading, also while it is being written.

    Where several processes trained, each has a store of its own. What is read here is the main process's, or that
    of the lowest rank where the main process only launched the others; ``findings`` are those of all ranks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = read_header(folder)
        self._others: dict[int, Run] = {}
        self._db = self._connect()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._db.close()
        for other in self._others.values():
            other.close()

    def refresh(self) -> None:
        """Read ``run.json`` again, and look for the ranks that have begun since."""
        self.header = read_header(self.folder)
        self._db.close()
        self._db = self._connect()

    def _connect(self) -> sqlite3.Connection:
        launched = {} if "rank" in self.header else rank_folders(self.folder)
        return _open(next(iter(launched.values()), self.folder))

    @property
    def ranks(self) -> dict[int, Run]:
        """The run of each process that trained, by rank, itself among them; a process without a rank by its id."""
        folders = rank_folders(self.folder)
        for rank in folders.keys() - self._others.keys():
            self._others[rank] = Run(folders[rank])
        own = {int(self.header.get("rank", 0)): self} if "rank" in self.header or not folders else {}
        return dict(sorted((own | self._others).items()))

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.header["name"])

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped`` or ``failed`` (also when the process died without a word)."""
        status = str(self.header["status"])
        return "failed" if status == "running" and not is_alive(int(self.header["pid"])) else status

    @property
    def result(self) -> dict[str, Any]:
        """What the run reported at its end; empty before."""
        return dict(self.header.get("result", {}))

    @property
    def last_step(self) -> int:
        """The last recorded step, -1 when there is none."""
        row = self._db.execute("SELECT MAX(step) FROM windows").fetchone()
        return -1 if row[0] is None else int(row[0])

    @property
    def windows(self) -> int:
        """How many windows were recorded."""
        return int(self._db.execute("SELECT COUNT(*) FROM windows").fetchone()[0])

    @property
    def findings(self) -> list[Finding]:
        """All findings of all ranks, worst first, causes before what follows from them, then by step."""
        found = merge_findings({rank: run._own_findings() for rank, run in self.ranks.items()})
        return sorted(found, key=lambda f: (-f.severity.rank, f.because_of is not None, f.step))

    def _own_findings(self) -> list[Finding]:
        rows = self._db.execute("SELECT record FROM findings ORDER BY id").fetchall()
        return [Finding(**{**r, "severity": Severity(r["severity"])}) for r in (json.loads(row[0]) for row in rows)]

    @property
    def sites(self) -> list[Site]:
        """All sites in their order of first execution."""
        rows = self._db.execute("SELECT * FROM sites ORDER BY position, path").fetchall()
        return [Site(p, k, o, tuple(json.loads(parents)), label, status) for p, k, o, parents, label, status in rows]

    @property
    def origins(self) -> list[ParameterOrigin]:
        """Where each parameter's initial value comes from, as far as it was seen."""
        rows = self._db.execute("SELECT name, shape, std, writes FROM origins ORDER BY rowid").fetchall()
        nan = float("nan")
        return [
            ParameterOrigin(
                name,
                tuple(json.loads(shape)),
                nan if std is None else std,
                tuple(ParameterWrite(**w) for w in json.loads(writes)),
            )
            for name, shape, std, writes in rows
        ]

    @property
    def signals(self) -> list[str]:
        """The names of all recorded signals."""
        rows = self._db.execute(
            "SELECT name FROM names WHERE id IN (SELECT DISTINCT signal FROM readings) ORDER BY name"
        )
        return [row[0] for row in rows]

    def readings(self, signal: str, *, site: str | None = None, after: int = 0) -> list[tuple[int, Reading]]:
        """Readings of one signal with their row ids, by step; only rows with an id above ``after``."""
        query = (
            "SELECT r.id, r.step, s.name, r.value, r.vector FROM readings r JOIN names s ON s.id = r.site "
            "WHERE r.signal = (SELECT id FROM names WHERE name = ?) AND r.id > ?"
        )
        arguments: list[object] = [signal, after]
        if site is not None:
            query += " AND r.site = (SELECT id FROM names WHERE name = ?)"
            arguments.append(site)
        rows = self._db.execute(query + " ORDER BY r.step, r.id", arguments)
        return [(row, Reading(step, name, signal, _decode(v, b))) for row, step, name, v, b in rows]

    def frame(self, signal: str, *, site: str | None = None) -> pd.DataFrame:
        """Readings of one signal as a frame with columns step, site, component, value; rank first where several are.

        Norms of parameters that are sharded over the ranks (FSDP2) are those of the whole parameters.

        Raises:
            UsageError: for a signal that this run has not recorded.
        """
        import pandas as pd

        ranks = self.ranks
        known = sorted({name for run in ranks.values() for name in run.signals})
        if signal not in known:
            raise UsageError(f"{self.folder} has no signal {signal!r}; it has: {', '.join(known) or 'none'}")
        rows = [
            (rank, reading.step, reading.site, component, value)
            for rank, run in ranks.items()
            for _, reading in run.readings(signal, site=site)
            for component, value in enumerate(reading.values)
        ]
        if len(ranks) > 1 and signal in NORMS:
            rows = whole_norms(rows, sharded_sites(next(iter(ranks.values())).sites))
        frame = pd.DataFrame(rows, columns=["rank", "step", "site", "component", "value"])
        return frame if len(ranks) > 1 else frame.drop(columns="rank")
