"""Parquet and arrow files, a few rows at a time: what is held is a batch of rows, however large the file.

pyarrow is used as it is: `datasets`, when it streams, reads ahead, and its peak grows with a file of pictures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeglass_models.data.rows import one_line

COLUMNAR = (".parquet", ".arrow")
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 1024
_BUFFER = 1 << 20  # of a parquet column; without one pyarrow reads it for the whole row group
_MAGIC = b"ARROW1"

Numbered = tuple[int, Mapping[str, Any]]


def column_names(path: Path) -> list[str]:
    """Names of the columns.

    Raises:
        ValueError: the file cannot be read.
    """
    from pyarrow import parquet

    with _reading(path, 0):
        if path.suffix.lower() == ".parquet":
            return list(parquet.read_schema(path).names)
        with _arrow(path) as table:
            return list(table.schema.names)


def column_rows(path: Path, names: Sequence[str], wanted: Sequence[int] | None = None) -> Generator[Numbered]:
    """Number and cells of each row, or of the wanted ones: numbers from 1, which increase.

    Of a parquet file, the row groups without a wanted row are not read; an arrow file is read from its beginning.

    Raises:
        ValueError: the file is damaged.
    """
    cells = _parquet_cells if path.suffix.lower() == ".parquet" else _arrow_cells
    done = 0
    with contextlib.closing(cells(path, list(names), _Wanted(wanted))) as rows:
        while True:
            with _reading(path, done):
                found = next(rows, None)
            if found is None:
                return
            done = found[0]
            yield found


class _Wanted:
    """The numbers of the wanted rows, increasing; None for all."""

    def __init__(self, numbers: Sequence[int] | None) -> None:
        self.numbers = None if numbers is None else np.asarray(numbers, dtype=np.int64)

    def among(self, done: int, count: int) -> Sequence[int]:
        """Those of the next ``count`` rows, counted from 0, when ``done`` have gone before."""
        if self.numbers is None:
            return range(count)
        low, high = np.searchsorted(self.numbers, [done + 1, done + count + 1])
        return [int(number) - done - 1 for number in self.numbers[low:high]]


def _parquet_cells(path: Path, names: list[str], wanted: _Wanted) -> Generator[Numbered]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
        done = 0
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            if wanted.among(done, group.num_rows):
                batches = file.iter_batches(_batch_rows(group, names), [index], names, use_threads=False)
                yield from _cells(batches, names, wanted, done)
            done += group.num_rows


def _batch_rows(group: Any, names: list[str]) -> int:
    """As many rows as have about 16 MB in these columns, nested ones included."""
    columns = [group.column(index) for index in range(group.num_columns)]
    size = sum(int(c.total_uncompressed_size) for c in columns if c.path_in_schema.startswith(tuple(names)))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * int(group.num_rows) // max(1, size)))


def _arrow_cells(path: Path, names: list[str], wanted: _Wanted) -> Generator[Numbered]:
    with _arrow(path, names) as table:
        if hasattr(table, "num_record_batches"):
            batches = (table.get_batch(index) for index in range(table.num_record_batches))
        else:
            batches = iter(table)
        yield from _cells(batches, names, wanted, 0)


def _cells(batches: Iterator[Any], names: list[str], wanted: _Wanted, done: int) -> Generator[Numbered]:
    while (batch := next(batches, None)) is not None:
        columns = {name: batch.column(name) for name in names}
        for row in wanted.among(done, batch.num_rows):
            yield done + row + 1, {name: column[row].as_py() for name, column in columns.items()}
        done += batch.num_rows
        del batch, columns  # before the next one is read


@contextlib.contextmanager
def _arrow(path: Path, names: Sequence[str] | None = None) -> Iterator[Any]:
    """A reader of arrow's file format, or of the stream format, in which `datasets` saves; of these columns only."""
    from pyarrow import OSFile, ipc

    with OSFile(str(path)) as file:
        whole = file.read(len(_MAGIC)) == _MAGIC
        file.seek(0)
        read = ipc.open_file if whole else ipc.open_stream
        if names is not None:
            schema = read(file).schema
            file.seek(0)
            fields = [schema.get_field_index(name) for name in names]
            yield read(file, options=ipc.IpcReadOptions(included_fields=fields))
        else:
            yield read(file)


@contextlib.contextmanager
def _reading(path: Path, done: int) -> Iterator[None]:
    """Name file and place of whatever pyarrow raises for a damaged file."""
    try:
        yield
    except Exception as error:
        where = f"after row {done}" if done else "at its beginning"
        expected = f"expected a whole {path.suffix.lower()[1:]} file"
        raise ValueError(f"{path}: {expected}; got, {where}: {one_line(error)}") from error
