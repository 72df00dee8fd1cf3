"""Columns of numbers in CSV and TSV, some thousand rows at a time."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from edgeglass_diag.auditing.columns import Role, recognise
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.limits import CELLS, COLUMNS, FIELD_CHARACTERS, SHOWN

_BLOCK = 10_000
"""Rows that are in memory as text."""

Numbers = list[float | None]
Row = tuple[int, list[str]]


class TableText:
    """A table in text.

    Args:
        path: for messages.
        delimiter: between cells.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path = path
        self.delimiter = delimiter

    def columns(self, file: TextIO) -> dict[str, tuple[float | None, ...]]:
        """Return the columns that have numbers alone; a column of words that no option can name is left out.

        Raises:
            UsageError: for a table without rows, a row of another length, a column that is there twice, or a word in
                a column whose name says that it has numbers.
        """
        with self._reading():
            reader = csv.reader(file, delimiter=self.delimiter)
            rows = ((reader.line_num, row) for row in reader if row)
            header = next(rows, None)
            names = self._names(header)
            held: dict[int, Numbers] = {index: [] for index, name in enumerate(names) if name}
            count = 0
            while block := list(islice(rows, _BLOCK)):
                count += len(block)
                self._add(block, names, held, count)
        if not count:
            raise UsageError(
                f"{self.path}: expected a header line and at least one row, got {0 if header is None else 1} lines"
            )
        return {names[index]: tuple(values) for index, values in held.items()}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        before = csv.field_size_limit(FIELD_CHARACTERS)
        try:
            yield
        except csv.Error as error:
            raise UsageError(f"{self.path}: expected a table, got: {error}") from None
        finally:
            csv.field_size_limit(before)

    def _names(self, header: Row | None) -> list[str]:
        """Return the names of the columns; those without a name are left out."""
        names = [] if header is None else [name.strip() for name in header[1]]
        if len(names) > COLUMNS:
            raise UsageError(f"{self.path}: expected at most {COLUMNS} columns, got {len(names)}")
        places: dict[str, int] = {}
        for number, name in enumerate(names, 1):
            first = places.setdefault(name, number)
            if name and first != number:
                raise UsageError(
                    f"{self.path}: expected each column once, got {name[:SHOWN]!r} as columns {first} and {number}"
                )
        return names

    def _add(self, block: Sequence[Row], names: list[str], held: dict[int, Numbers], count: int) -> None:
        for line, row in block:
            if len(row) != len(names):
                raise UsageError(f"{self.path}:{line}: expected {len(names)} cells as in the header, got {len(row)}")
        if count * len(names) > CELLS:
            raise UsageError(f"{self.path}: expected at most {CELLS} cells, got more ({len(names)} columns)")
        cells = list(zip(*(row for _, row in block), strict=True))
        for index in list(held):
            try:
                held[index] += numbers(cells[index])
            except _CellError as error:
                name, (line, _) = names[index], block[error.row]
                if isinstance(recognise(name), Role):
                    words = f"column {name!r}: expected {error.expected}, got {error.cell[:SHOWN]!r}"
                    raise UsageError(f"{self.path}:{line}: {words}") from None
                del held[index]


class _CellError(Exception):
    def __init__(self, row: int, cell: str, expected: str) -> None:
        super().__init__(row, cell, expected)
        self.row, self.cell, self.expected = row, cell, expected


def numbers(cells: Sequence[str]) -> Numbers:
    """Return the numbers of cells, None for an empty one.

    Raises:
        _CellError: for a cell that holds none, or one that no float can hold.
    """
    try:
        quick: Numbers = list(map(float, cells))
    except ValueError:
        return [_number(row, cell.strip()) for row, cell in enumerate(cells)]
    if math.inf in quick or -math.inf in quick or "_" in "".join(cells):
        return [_number(row, cell.strip()) for row, cell in enumerate(cells)]
    return quick


def _number(row: int, cell: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        raise _CellError(row, cell, "a number") from None
    if "_" in cell:  # which Python reads as a separator of thousands
        raise _CellError(row, cell, "a number")
    if math.isinf(value) and "n" not in cell.lower():
        raise _CellError(row, cell, "a number within the range of floats (1.8e308)")
    return value
