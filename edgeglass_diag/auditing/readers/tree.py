"""Nested mappings and lists as histories: which level names runs, which names tables, which names columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgeglass_diag.auditing.columns import SPLITS, Role, recognise
from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.user_input.limits import CELLS, COLUMNS, SHOWN

SETTINGS = {"config", "settings", "hparams", "hyperparameters", "args", "params", "arguments", "configuration"}
_PARTS = {
    *SETTINGS, *SPLITS, "history", "log", "logs", "metrics", "report", "reported", "summary", "results", "result",
    "final", "best", "lr", "scalars",
}  # fmt: skip
_POINTS = {"first": 0, "start": 0, "initial": 0, "second": 1, "third": 2}
_ENDS = ("last", "end", "final")
_COUNTS = ("steps", "count", "n", "length", "len")


class UnusableLogError(ValueError):
    """What a log holds that is not to be used, without the name of its file."""


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by ``/``.

    Raises:
        UnusableLogError: where two values get one key.
    """
    found: dict[str, Any] = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            join(found, flat(value, f"{name}/"))
        elif name in found:
            join(found, {name: value})
        else:
            found[name] = value
    return found


def join(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add a mapping to another.

    Raises:
        UnusableLogError: for a key that both have, with different values.
    """
    for key in whole.keys() & part.keys():
        if repr(whole[key]) != repr(part[key]):  # NaN is equal to itself here
            raise UnusableLogError(f"expected one value for {key[:SHOWN]!r}, got two: {whole[key]!r}, {part[key]!r}")
    whole |= part


def number(value: object) -> float | None:
    """A number as float, also one of the names that JSON lacks (NaN, inf); None for anything else."""
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if isinstance(value, str) and value.strip().lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        return float(value)
    return None


def table_of(name: str, records: Sequence[Mapping[str, Any]]) -> Table:
    """Records as columns; only what is a number somewhere is kept.

    Raises:
        UnusableLogError: for more columns or cells than are read.
    """
    keys: dict[str, None] = {}
    for record in records:
        keys |= dict.fromkeys(record)
    if len(keys) > COLUMNS or len(keys) * len(records) > CELLS:
        words = f"{len(keys)} columns and {len(records)} rows"
        raise UnusableLogError(f"expected at most {COLUMNS} columns and {CELLS} cells, got {words}")
    columns = {key: tuple(number(record.get(key)) for record in records) for key in keys}
    return Table(name, {key: values for key, values in columns.items() if any(v is not None for v in values)})


def histories(name: str, value: object, source: str) -> list[Logged]:
    """All histories below a value.

    A list of records is one history. A mapping is one history where it holds columns itself or one of its keys is
    a word for a part of a run (``config``, ``history``, ``train``, ``report`` ...); its mappings are tables then.
    In any other mapping the keys are names of histories.
    """
    if _is_records(value):
        return [Logged(name, source, (table_of("", [flat(record) for record in _records(value)]),))]
    if not isinstance(value, Mapping):
        return []
    if _is_history(value):
        return [_history(name, value, source)]
    found = [logged for key, item in value.items() for logged in histories(str(key), item, source)]
    return found


def _is_records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _records(value: object) -> list[Mapping[str, Any]]:
    return value if isinstance(value, list) else []


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(v is None or number(v) is not None for v in value)


def _is_history(value: Mapping[str, Any]) -> bool:
    own = any(_is_numbers(v) or (number(v) is not None and recognise(str(k)) is not None) for k, v in value.items())
    inner = [key for key, item in value.items() if isinstance(item, Mapping) or _is_records(item)]
    return own or any(_PARTS & set(re.split(r"[^a-z0-9]+", str(key).lower())) for key in inner)


def _history(name: str, value: Mapping[str, Any], source: str) -> Logged:
    settings: dict[str, Any] = {}
    tables: list[Table] = []
    columns: dict[str, list[Any]] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and str(key).lower() in SETTINGS:
            join(settings, flat(item))
        elif isinstance(item, Mapping) and str(key).lower() in SPLITS:
            join(columns, {f"{key}/{k}": v if _is_numbers(v) else [v] for k, v in flat(item).items()})
        elif isinstance(item, Mapping):
            tables += _abridged(str(key), item) or _columns(str(key), flat(item))
        elif _is_records(item):
            tables.append(table_of(str(key), [flat(record) for record in item]))
        else:
            join(columns, {str(key): item if _is_numbers(item) else [item]})
    return Logged(name, source, (*_columns("", columns), *tables), settings)


def _columns(name: str, values: Mapping[str, Any]) -> list[Table]:
    """Return columns by length: those of one value next to a longer table are a table of their own."""
    by_length: dict[int, dict[str, tuple[float | None, ...]]] = {}
    for key, value in values.items():
        items = value if isinstance(value, list) else [value]
        column = tuple(number(item) for item in items)
        if any(item is not None for item in column):
            by_length.setdefault(len(column), {})[key] = column
    return [Table(name, columns) for columns in by_length.values()]


def _abridged(name: str, value: Mapping[str, Any]) -> list[Table]:
    """Return a series given by some of its points: ``{"steps": 109, "first": ..., "second": ..., "last": ...}``."""
    role = recognise(re.sub(r"_(of|in|at|over|during)_.*", "", name.lower()))
    count = next((int(n) for key in _COUNTS if (n := number(value.get(key))) is not None and abs(n) < 2**53), 0)
    points = {at: v for key, at in _POINTS.items() if (v := number(value.get(key))) is not None}
    ends = [v for key in _ENDS if (v := number(value.get(key))) is not None]
    if not isinstance(role, Role) or not points or not ends or count < 2:
        return []
    points[count - 1] = ends[0]
    places = tuple(sorted(points))
    at_end = any(word in re.split(r"[^a-z]+", name.lower()) for word in ("last", "final", "end"))
    return [Table(name, {role.kind: tuple(points[at] for at in places)}, places, partial=True, at_end=at_end)]
