"""The rows of a window besides its readings, and those of findings."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from edgeglass_diag.records import Finding, Window
from edgeglass_diag.store.schema import insert

if TYPE_CHECKING:
    from edgeglass_diag.store.slices import Slices


def write_window(db: sqlite3.Connection, slices: Slices, window: Window) -> None:
    """Add what a window has; the transaction is the caller's."""
    insert(db, "windows", [(window.step, time.time())])
    slices.write(window.readings)
    insert(
        db,
        "sites",
        (
            (s.path, str(s.kind), s.order, json.dumps(s.parents), str(s.coverage), s.detail, json.dumps(s.facts))
            for s in window.sites
        ),
    )
    insert(
        db,
        "origins",
        (
            (o.name, json.dumps(o.shape), float(o.std), json.dumps([asdict(w) for w in o.writes]))
            for o in window.origins
        ),
    )


def write_findings(db: sqlite3.Connection, findings: Iterable[Finding]) -> None:
    """Add findings, in the place of earlier ones of the same code and site; the transaction is the caller's."""
    insert(
        db,
        "findings",
        ((f.code, f.site, json.dumps(asdict(f), default=str)) for f in findings),
        conflict="ON CONFLICT (code, site) DO UPDATE SET record = excluded.record, crc = excluded.crc",
    )
