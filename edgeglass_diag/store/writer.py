"""Creates a run directory and appends to it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.folders import FORMAT, VERSION
from edgeglass_diag.records import Finding, RunStatus, UsageError, Window
from edgeglass_diag.store.schema import create

if TYPE_CHECKING:
    from edgeglass_diag.store.embeddings import Embeddings
    from edgeglass_diag.store.slices import Slices


class RunWriter:
    """Creates a run directory and appends to it; to be used by one thread at a time.

    Args:
        folder: of the run.
        name: of the run.
        header: what ``run.json`` says of it besides, ``rules`` among it: each ``ConfiguredRule`` as a dictionary.

    Raises:
        UsageError: when ``folder`` exists and is not empty (nothing is ever overwritten) or cannot be written.
    """

    def __init__(self, folder: Path, *, name: str, header: Mapping[str, object]) -> None:
        self.folder = folder
        self._slices: Slices | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(f"{folder} is not empty: a run needs a new folder, and nothing is overwritten")
            self._header = {
                "format": FORMAT, "version": VERSION, "name": name, "created": time.time(), "pid": os.getpid(),
                "status": RunStatus.RUNNING, **header,
            }  # fmt: skip
            self._db = create(folder)
            self._write_header()  # last: a folder with a header is a run that can be read
        except OSError as error:
            raise UsageError(f"cannot write a run to {folder}: {error.strerror or error}") from error
        except sqlite3.OperationalError as error:
            raise UsageError(f"cannot write a run to {folder}: {error}") from error

    def _write_header(self) -> None:
        temporary = self.folder / "run.json.tmp"
        temporary.write_text(json.dumps(self._header, indent=1, default=str), encoding="utf-8")
        temporary.replace(self.folder / "run.json")

    def write(self, window: Window, findings: Iterable[Finding] = ()) -> None:
        """Append a window and the findings it led to in one transaction."""
        slices = self._begun()
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?)", (window.step, time.time()))
            slices.write(window.readings)
            self._db.executemany(
                "INSERT OR REPLACE INTO sites VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (s.path, s.kind, s.order, json.dumps(s.parents), s.coverage, s.detail, json.dumps(s.facts))
                    for s in window.sites
                ],
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
            slices.compact()

    def _begun(self) -> Slices:
        """Made with the first window: a program decides itself when NumPy is imported, and in which environment."""
        from edgeglass_diag.store.slices import Slices

        self._slices = self._slices or Slices(self._db)
        return self._slices

    def write_embeddings(self, step: int, image: Embeddings, text: Embeddings) -> None:
        """Keep the embeddings of the pairs of a step, (pairs, dims) each."""
        from edgeglass_diag.store.embeddings import write_embeddings

        write_embeddings(self.folder, step, image, text)

    def note(self, facts: Mapping[str, object]) -> None:
        """Add facts to ``run.json`` that were not known at the beginning."""
        self._header |= facts
        self._write_header()

    def finish(self, status: RunStatus, result: Mapping[str, object]) -> None:
        """Close the store and note how the run ended: ``finished``, ``stopped`` or ``failed``; said once."""
        if "ended" in self._header:
            return
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._header |= {"status": status, "ended": time.time(), "result": dict(result)}
        self._write_header()
