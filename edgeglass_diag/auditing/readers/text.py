"""CSV, TSV, JSON and JSONL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.auditing.readers.table_text import TableText
from edgeglass_diag.auditing.readers.trainers import is_trainer_state, trainer_log
from edgeglass_diag.auditing.readers.tree import flat, histories, table_of
from edgeglass_diag.auditing.readers.wandb_charts import charts
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import open_text, read_text
from edgeglass_diag.user_input.json_text import NoJsonError, parse_json
from edgeglass_diag.user_input.limits import JSON_BYTES, TABLE_BYTES


def read_csv(path: Path) -> list[Logged]:
    """A table with a header line; an empty cell is an absent value.

    Raises:
        UsageError: for a file without rows, a row of another length, a column that is there twice, and a word where a
            column that is understood has numbers.
    """
    with open_text(path, most=TABLE_BYTES) as file:
        columns = TableText(path, "\t" if path.suffix.lower() == ".tsv" else ",").columns(file)
    return charts(columns, path) or [Logged(path.stem, str(path), (Table("", columns),))]


def read_json(path: Path) -> list[Logged]:
    """A list of records, a mapping of columns, or of named histories, however deep they lie.

    Raises:
        UsageError: for what is no JSON (with its line), or holds no numbers.
    """
    value = parse_json(read_text(path, most=JSON_BYTES), path)
    if is_trainer_state(value):
        return [trainer_log(value, path)]
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
    with open_text(path, most=TABLE_BYTES) as file:
        for number, line in enumerate(iter(partial(file.readline, JSON_BYTES), ""), 1):
            if not line.strip():
                continue
            try:
                records.append(_record(line, path, number))
            except NoJsonError:
                if line.endswith(("\n", "\r")) or not records:
                    raise
                notes.append(f"{path}:{number}: the last line was cut off and is left out")
    if not records:
        raise UsageError(f"{path}: expected one JSON object on each line, got an empty file")
    return [Logged(path.stem, str(path), (table_of("", records),), notes=tuple(notes))]


def _record(line: str, path: Path, number: int) -> dict[str, Any]:
    record = parse_json(line, path, line=number)
    if not isinstance(record, dict):
        raise UsageError(f"{path}:{number}: expected a JSON object, got {type(record).__name__}")
    return flat(record)
