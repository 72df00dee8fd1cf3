"""Finds what there is of one signal, as parts: stretches and slices, or the single rows of runs of version 1."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from edgeglass_diag.records import Reading
from edgeglass_diag.signals import Signal, recorded
from edgeglass_diag.store.database import Database
from edgeglass_diag.store.layouts import Layout, pack
from edgeglass_diag.store.parts import Part, Slices, Stretch

_Row = tuple[int, int, int, float | None, bytes | None]
"""Id, step, site, and a number or a vector, of a store of version 1."""


def parts_of(db: Database, signal: Signal, *, after: int = 0) -> list[Part]:
    """Return the parts of a signal that hold a window written after ``after``; to be read inside of one snapshot."""
    if is_first_version(db):
        return list(_rows(db, signal, _signal_id(db, "names", signal), after))
    number = _signal_id(db, "signals", signal)
    parts: list[Part] = []
    layouts: dict[int, Layout] = {}
    for id_, _, _, layout, seqs, steps in db.select(
        "stretches", "WHERE signal = ? AND last > ? ORDER BY id", (number, after)
    ):
        known = _layout(db, layouts, layout)
        parts.append(Stretch(db, id_, known, np.frombuffer(seqs, "<i8"), np.frombuffer(steps, "<i8")))
    rows = db.select("slices", "WHERE signal = ? AND seq > ? ORDER BY layout, seq, id", (number, after))
    for layout, group in groupby(rows, key=lambda row: row[3]):
        _, numbers, steps, _, data = zip(*group, strict=True)
        parts.append(Slices.of(_layout(db, layouts, layout), numbers, steps, data))
    return parts


def signals_of(db: Database) -> list[Signal]:
    """Return all recorded signals, sorted by path; names that are those of no signal of this version are left out."""
    if is_first_version(db):
        kept = db.select("names", "WHERE id IN (SELECT DISTINCT signal FROM readings) ORDER BY name")
    else:
        kept = db.select("signals", "ORDER BY name")
    found = (recorded(name) for _, name in kept)
    return sorted(signal for signal in found if signal is not None)


def site_ids(db: Database, names: Iterable[str]) -> dict[str, int]:
    """Ids of those of the sites that have readings."""
    found = ((name, _id(db, "names", name)) for name in names)
    return {name: number for name, number in found if number is not None}


def site_names(db: Database) -> dict[int, str]:
    """Names by id."""
    return {number: name for number, name in db.select("names")}


def is_first_version(db: Database) -> bool:
    """Whether the store has a row for each reading, as version 1 had."""
    return bool(db.rows("SELECT 1 FROM sqlite_master WHERE name = 'readings'"))


def _id(db: Database, table: str, name: str) -> int | None:
    found = db.select(table, "WHERE name = ?", (name,))
    return int(found[0][0]) if found else None


def _signal_id(db: Database, table: str, signal: Signal) -> int | None:
    """Return the id of a signal, under its path or the one that it had in an older run."""
    ids = (_id(db, table, path) for path in (str(signal), *signal.former))
    return next((number for number in ids if number is not None), None)


def _layout(db: Database, known: dict[int, Layout], number: int) -> Layout:
    if number not in known:
        known[number] = Layout.parse(db.select("layouts", "WHERE id = ?", (number,))[0][1])
    return known[number]


def _rows(db: Database, signal: Signal, number: int | None, after: int) -> Iterator[Slices]:
    """Rows of version 1, gathered to windows; the number of a window is the id of its last row."""
    rows = db.rows(
        "SELECT id, step, site, value, vector FROM readings WHERE signal = ? AND id > ? ORDER BY id", (number, after)
    )
    windows: dict[tuple[tuple[int, int], ...], list[tuple[int, int, bytes]]] = {}
    for step, group in _windows(rows):
        readings = [Reading(step, "", signal, _decode(value, vector)) for *_, value, vector in group]
        key = tuple((row[2], len(reading.values)) for row, reading in zip(group, readings, strict=True))
        windows.setdefault(key, []).append((group[-1][0], step, pack(readings)))
    for key, found in windows.items():
        numbers, steps, data = zip(*found, strict=True)
        yield Slices.of(Layout(*np.array(key, np.int64).T), numbers, steps, data)


def _windows(rows: Iterable[_Row]) -> Iterator[tuple[int, list[_Row]]]:
    """Successive rows of one step, each site once."""
    group: list[_Row] = []
    sites: set[int] = set()
    for row in rows:
        if group and (row[1] != group[0][1] or row[2] in sites):
            yield group[0][1], group
            group, sites = [], set()
        group.append(row)
        sites.add(row[2])
    if group:
        yield group[0][1], group


def _decode(value: float | None, vector: bytes | None) -> tuple[float, ...]:
    """SQLite has no NaN: a row with neither a value nor a vector is one."""
    if vector is not None:
        return struct.unpack(f"<{len(vector) // 4}f", vector)
    return (float("nan") if value is None else value,)
