"""Runs of version 1, which had a row for each reading, are read as ever."""

import json
import os
import sqlite3
import struct
import time

import pytest
from hypothesis import given, settings

from edgeglass_diag.records import Reading, UsageError, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.store import load
from tests.helpers.histories import expected, histories

X = metric("x")

SCHEMA = """
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


class FirstWriter:
    def __init__(self, folder):
        folder.mkdir()
        header = {
            "format": "edgeglass-diag run",
            "version": 1,
            "name": "old",
            "created": time.time(),
            "pid": os.getpid(),
        }
        (folder / "run.json").write_text(json.dumps({**header, "status": "running"}))
        self.db = sqlite3.connect(folder / "signals.sqlite")
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.executescript(SCHEMA)

    def id(self, name):
        self.db.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (name,))
        return self.db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()[0]

    def write(self, window):
        with self.db:
            self.db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?)", (window.step, time.time()))
            for r in window.readings:
                value, vector = None, None
                if len(r.values) == 1:
                    value = None if r.values[0] != r.values[0] else r.values[0]
                else:
                    vector = struct.pack(f"<{len(r.values)}f", *r.values)
                row = (r.step, self.id(r.site), self.id(r.signal), value, vector)
                self.db.execute("INSERT INTO readings (step, site, signal, value, vector) VALUES (?, ?, ?, ?, ?)", row)


def plain(rows):
    """Readings without their rows; SQLite kept neither the sign of a NaN nor that of a zero."""
    return sorted((r.step, r.site, r.signal, repr([value + 0.0 for value in r.values])) for _, r in rows)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("old")
    return (root / str(number) for number in range(10**6))


@given(windows=histories(most=8))
@settings(max_examples=30, deadline=None)
def test_an_old_run_gives_its_readings_whole_and_as_they_come(folders, windows):
    folder = next(folders)
    writer = FirstWriter(folder)
    signals = sorted({r.signal for window in windows for r in window.readings})
    told = {signal: [] for signal in signals}
    with load(folder) as run:
        for window in windows:
            writer.write(window)
            for signal in signals:
                told[signal] += run.readings(signal, after=max((row for row, _ in told[signal]), default=0))
        assert run.signals == signals
        for signal in signals:
            whole = expected(windows, signal)
            assert plain(told[signal]) == plain(whole)
            assert [r.step for _, r in run.readings(signal)] == [r.step for _, r in whole]
            assert plain(run.readings(signal)) == plain(whole)
            site = whole[0][1].site
            assert plain(run.readings(signal, site=site)) == plain(expected(windows, signal, site=site))
            assert run.matrix(signal).count.sum() == sum(1 for _, r in whole if r.values)
            assert len(run.frame(signal)) == sum(len(r.values) for _, r in whole)
    writer.db.close()


def test_an_old_run_is_drawn(tmp_path):
    writer = FirstWriter(tmp_path / "run")
    for step in range(0, 50, 10):
        writer.write(Window(step, (Reading(step, "a", X, (step, -step)), Reading(step, "b", X, (1.0,)))))
    writer.db.close()
    with load(tmp_path / "run") as run:
        matrix = run.matrix(X, bins=2, component="max")
        assert matrix.edges == [0, 30]
        assert matrix.high.tolist() == [[20.0, 40.0], [1.0, 1.0]]
        assert run.heads(X, "a").low.tolist() == [0, 0, 10, -10, 20, -20, 30, -30, 40, -40]
        assert run.embedding_steps() == []
        with pytest.raises(UsageError, match="has no embeddings of step 0; it has those of: none"):
            run.embeddings(0)
