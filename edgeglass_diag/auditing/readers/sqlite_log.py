"""SQLite databases of trackers: MLflow's ``mlflow.db`` and trackio's ``PROJECT.db``."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.points import Point, setting_of, table_of_points
from edgeglass_diag.auditing.readers.tree import flat, number, table_of
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import is_file, open_file, parsing
from edgeglass_diag.user_input.json_text import parse_json
from edgeglass_diag.user_input.limits import CELLS, JSON_BYTES, TABLE_BYTES

MAGIC = b"SQLite format 3\0"
_EXPECTED = "a database of MLflow or trackio"
_MLFLOW = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
_TRACKIO = ("run_name", "timestamp", "step", "metrics")
_LARGEST = 1.79e308
"""MLflow writes infinities as the largest float."""


def read_sqlite(path: Path) -> list[Logged]:
    """The runs of a tracker's database.

    Raises:
        UsageError: for what is no database of SQLite, or none of theirs.
    """
    with _opened(path) as db, parsing(path, _EXPECTED):
        columns = _columns(db, "metrics")
        if columns.issuperset(_MLFLOW):
            found = list(_mlflow(db, path))
        elif columns.issuperset(_TRACKIO):
            found = list(_trackio(db, path))
        else:
            raise UsageError(f"{path}: expected {_EXPECTED}, got one without their table of metrics")
    if not found:
        raise UsageError(f"{path}: expected logged metrics, got a database without any")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading; nothing is written beside it unless its newest rows are in a log beside it."""
    with open_file(path, most=TABLE_BYTES) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UsageError(f"{path}: expected {_EXPECTED}, got no database of SQLite")
    log = Path(f"{path}-wal")
    alone = "" if is_file(log) and log.stat().st_size else "&immutable=1"
    with parsing(path, _EXPECTED):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True, timeout=1.0)
    with closing(db):
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, JSON_BYTES)
        with parsing(path, _EXPECTED):
            db.execute("PRAGMA trusted_schema = OFF")
        yield db


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    """Return the columns of a real table that are stored: views and what is computed would run a stranger's code."""
    real = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?", (table,))
    if real.fetchone() is None:
        return set()
    return {row[1] for row in db.execute(f"PRAGMA table_xinfo({table})") if row[6] == 0}


def _rows(db: sqlite3.Connection, path: Path, query: str) -> Iterator[Any]:
    for count, row in enumerate(db.execute(query)):
        if count > CELLS:
            raise UsageError(f"{path}: expected at most {CELLS} values, got more")
        yield row


def _mlflow(db: sqlite3.Connection, path: Path) -> Iterator[Logged]:
    names = dict(db.execute("SELECT run_uuid, name FROM runs")) if {"run_uuid", "name"} <= _columns(db, "runs") else {}
    settings: dict[str, dict[str, object]] = {}
    if {"run_uuid", "key", "value"} <= _columns(db, "params"):
        for run, key, text in _rows(db, path, "SELECT run_uuid, key, value FROM params"):
            settings.setdefault(run, {})[str(key)] = setting_of(str(text))
    points: dict[str, list[Point]] = {}
    query = "SELECT run_uuid, key, step, value, timestamp, is_nan FROM metrics ORDER BY timestamp, rowid"
    for run, key, step, value, time, nan in _rows(db, path, query):
        held = math.nan if nan else math.copysign(math.inf, value) if abs(value) >= _LARGEST else float(value)
        points.setdefault(run, []).append(Point(str(key), int(step), held, time / 1000))
    for run, found in points.items():
        yield Logged(str(names.get(run) or run), str(path), (table_of_points(found),), settings.get(run, {}))


def _trackio(db: sqlite3.Connection, path: Path) -> Iterator[Logged]:
    known = _columns(db, "metrics")
    run = "run_id" if "run_id" in known else "run_name"
    order = "id" if "id" in known else "rowid"
    rows: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, str] = {}
    query = f"SELECT {run}, run_name, step, timestamp, metrics FROM metrics ORDER BY {order}"
    for key, name, step, time, text in _rows(db, path, query):
        names[key] = str(name)
        held = {name: value for name, value in _mapping(text, path).items() if number(value) is not None}
        rows.setdefault(key, []).append({**held, "step": step, **_time(time)})
    settings = {}
    if {run, "config"} <= _columns(db, "configs"):
        settings = {key: _mapping(text, path) for key, text in _rows(db, path, f"SELECT {run}, config FROM configs")}
    for key, found in rows.items():
        yield Logged(names[key], str(path), (table_of("", found),), settings.get(key, {}))


def _mapping(text: str | bytes, path: Path) -> dict[str, Any]:
    value = parse_json(text.decode() if isinstance(text, bytes) else text, path)
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object for each row of metrics, got {type(value).__name__}")
    return flat(value)


def _time(text: object) -> dict[str, float]:
    """Return when a row was logged, nothing where the text is no time."""
    try:
        return {"timestamp": datetime.fromisoformat(str(text)).timestamp()}
    except (ValueError, OverflowError):
        return {}
