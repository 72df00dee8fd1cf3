"""CSV, TSV, JSON and JSONL."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.columns import Role, recognise
from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.auditing.readers.tree import flat, histories, table_of
from edgeglass_diag.records import UsageError


def read_csv(path: Path) -> list[Logged]:
    """A table with a header line; an empty cell is an absent value.

    Raises:
        UsageError: for a file without rows, a row of another length, and a word where a column that is understood
            has numbers.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        rows = [(reader.line_num, row) for row in reader if row]
    if len(rows) < 2:
        raise UsageError(f"{path}: expected a header line and at least one row, got {len(rows)} lines")
    header = [name.strip() for name in rows[0][1]]
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise UsageError(f"{path}:{line}: expected {len(header)} cells as in the header, got {len(row)}")
    columns: dict[str, tuple[float | None, ...]] = {}
    for index, name in enumerate(header):
        cells = [(line, row[index].strip()) for line, row in rows[1:]]
        values = _numbers(path, name, cells)
        if values is not None:
            columns[name] = values
    return [Logged(path.stem, str(path), (Table("", columns),))]


def _numbers(path: Path, name: str, cells: list[tuple[int, str]]) -> tuple[float | None, ...] | None:
    """Return the column's numbers; None for a column of words that no option names."""
    values: list[float | None] = []
    for line, cell in cells:
        try:
            values.append(None if cell == "" else float(cell))
        except ValueError:
            if isinstance(recognise(name), Role):
                raise UsageError(f"{path}:{line}: column {name!r}: expected a number, got {cell!r}") from None
            return None
    return tuple(values)


def read_json(path: Path) -> list[Logged]:
    """A list of records, a mapping of columns, or of named histories, however deep they lie.

    Raises:
        UsageError: for what is no JSON (with its line), or holds no numbers.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        hint = "; one record on each line is JSONL: name it *.jsonl" if error.msg == "Extra data" else ""
        raise UsageError(
            f"{path}:{error.lineno}: expected JSON, got {error.msg} (column {error.colno}){hint}"
        ) from None
    found = histories(path.stem, value, str(path))
    if not any(table.length for logged in found for table in logged.tables):
        raise UsageError(f"{path}: expected records, columns or named histories with numbers in them, got none")
    return found


def read_jsonl(path: Path) -> list[Logged]:
    """One record on each line; a last line that was cut off (no line end) is left out and noted.

    Raises:
        UsageError: for a line that is no JSON object.
    """
    records: list[Mapping[str, Any]] = []
    notes: list[str] = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and records:
                notes.append(f"{path}:{number}: the last line was cut off and is left out")
                continue
            raise UsageError(f"{path}:{number}: expected a JSON object, got {error.msg}") from None
        if not isinstance(record, dict):
            raise UsageError(f"{path}:{number}: expected a JSON object, got {type(record).__name__}")
        records.append(flat(record))
    if not records:
        raise UsageError(f"{path}: expected one JSON object on each line, got an empty file")
    return [Logged(path.stem, str(path), (table_of("", records),), notes=tuple(notes))]
