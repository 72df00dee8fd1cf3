"""Read parquet and arrow files in batches of rows, in memory that does not grow with the file.

This uses pyarrow alone: `datasets` reads ahead when it streams, so that its peak memory grows with the file.
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
_BUFFER = 1 << 20  # bytes of a parquet column; without a buffer pyarrow reads the whole row group
_MAGIC = b"ARROW1"

Numbered = tuple[int, Mapping[str, Any]]


def column_names(path: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        ValueError: if the file cannot be read.
    """
    from pyarrow import parquet

    with _reading(path, 0):
        if path.suffix.lower() == ".parquet":
            return list(parquet.read_schema(path).names)
        with _arrow(path) as table:
            return list(table.schema.names)


def column_rows(path: Path, names: Sequence[str], wanted: Sequence[int] | None = None) -> Generator[Numbered]:
    """Yield number, from 1, and cells of each row, or of the wanted rows in increasing order.

    Row groups of a parquet file without a wanted row are skipped; an arrow file is read from its beginning.

    Raises:
        ValueError: if the file is damaged.
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
    """Numbers of the wanted rows, from 1, increasing; None for all rows."""

    def __init__(self, numbers: Sequence[int] | None) -> None:
        self.numbers = None if numbers is None else np.asarray(numbers, dtype=np.int64)

    def among(self, done: int, count: int) -> Sequence[int]:
        """Return indices, from 0, of the wanted rows among the ``count`` rows that follow the first ``done``."""
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
                batches = file.iter_batches(_batch_rows(file, index, names), [index], names, use_threads=False)
                yield from _cells(batches, names, wanted, done)
            done += group.num_rows


def _batch_rows(file: Any, index: int, names: list[str]) -> int:
    """Return the number of rows of a row group that have about 16 MB in these columns, nested ones included."""
    # Of a damaged column reading tells in an error; asking for its size first would end the process.
    next(file.iter_batches(1, [index], names, use_threads=False), None)
    group, schema = file.metadata.row_group(index), file.schema
    wanted = [place for place in range(len(schema)) if schema.column(place).path.startswith(tuple(names))]
    size = sum(int(group.column(place).total_uncompressed_size) for place in wanted)
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
        batch.validate(full=True)  # pyarrow takes offsets as they are, and damaged ones end the process
        columns = {name: batch.column(name) for name in names}
        for row in wanted.among(done, batch.num_rows):
            yield done + row + 1, {name: column[row].as_py() for name, column in columns.items()}
        done += batch.num_rows
        del batch, columns  # free the memory before the next batch is read


@contextlib.contextmanager
def _arrow(path: Path, names: Sequence[str] | None = None) -> Iterator[Any]:
    """Open arrow's file format or stream format, which `datasets` writes, for these columns."""
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
    """Turn any exception of pyarrow for a damaged file into a ValueError with file and row."""
    try:
        yield
    except Exception as error:
        where = f"after row {done}" if done else "at its beginning"
        expected = f"expected a whole {path.suffix.lower()[1:]} file"
        raise ValueError(f"{path}: {expected}; got, {where}: {one_line(error)}") from error
