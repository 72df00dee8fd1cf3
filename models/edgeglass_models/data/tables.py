"""Tables with a column of pictures and a column of captions: CSV, TSV, JSON lines, parquet, arrow.

CSV and JSON lines are parsed here: pandas, which `datasets` uses for CSV, reads captions such as "null" as missing and
does not report line numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgeglass_diag.errors import UsageError
from edgeglass_diag.user_input.files import open_text
from edgeglass_diag.user_input.json_text import parse_json
from edgeglass_diag.user_input.limits import DATA_BYTES, JSON_BYTES
from edgeglass_models.data.columnar import COLUMNAR, column_names, column_rows
from edgeglass_models.data.rows import Fault, Row, Rows, StoredAt

IMAGE_COLUMNS = ("image", "image_path", "filepath", "file_name", "filename", "path")
CAPTION_COLUMNS = ("caption", "captions", "text", "title")
_ADDRESSES = ("http://", "https://", "s3://", "gs://")
NOT_DOWNLOADED = "pictures at an address are not downloaded: fetch them first, for example with img2dataset"

Cells = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """Names of the image and caption columns; None to find a known name in the table."""

    image: str | None = None
    caption: str | None = None

    def among(self, names: Iterable[str], where: Path) -> tuple[str, str]:
        """Return the names of the image and caption columns among the columns of a table.

        Raises:
            ValueError: if one is missing, or several known names are there and none was chosen.
        """
        have = list(names)
        image = _chosen("image", self.image, IMAGE_COLUMNS, have, where)
        return image, _chosen("caption", self.caption, CAPTION_COLUMNS, have, where)


def table_rows(path: Path, columns: Columns, folder: Path) -> Rows:
    """Yield the rows of a table; image paths are relative to `folder`.

    A cell of the image column is a path, bytes, or a mapping of both as in `datasets` (``{"bytes", "path"}``); a cell
    of the caption column is a text or a list of texts.

    Raises:
        ValueError: if the file cannot be read or lacks a column.
    """
    names: tuple[str, str] | None = None
    word = "row" if path.suffix.lower() in COLUMNAR else "line"
    for number, cells in _READERS[path.suffix.lower()](path, columns):
        if isinstance(cells, Fault):
            yield cells
            continue
        names = names or columns.among([name for name in cells if name is not None], path)
        yield _row(cells, names, folder, StoredAt(path, number), f"{path} {word} {number}")


def _row(cells: Cells, names: tuple[str, str], folder: Path, location: StoredAt, where: str) -> Row | Fault:
    if None in cells:  # csv.DictReader's key of fields beyond the header
        return Fault("row with more fields than columns", where, "a caption with a comma needs quotes")
    picture, captions = _picture(cells.get(names[0]), folder, where), cells.get(names[1])
    if isinstance(picture, Fault):
        return picture
    several = tuple(captions) if isinstance(captions, list | tuple) else (captions,)
    return Row(where, picture, several, location if isinstance(picture, bytes) else None)


def _picture(cell: object, folder: Path, where: str) -> bytes | Path | Fault:
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return cell
    if isinstance(cell, str) and cell.strip():
        name = cell.strip()
        if name.startswith(_ADDRESSES):
            return Fault("picture at an address", where, f"{name!r}; {NOT_DOWNLOADED}")
        return folder / name
    if not cell or isinstance(cell, str):
        return Fault("row without a picture", where)
    return Fault("picture that is neither bytes nor a path", where, type(cell).__name__)


def _csv(path: Path, columns: Columns) -> Iterator[tuple[int, Cells]]:
    try:
        with open_text(path, most=DATA_BYTES) as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            columns.among(reader.fieldnames or (), path)
            for cells in reader:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table in UTF-8; got {error}") from error


def _jsonl(path: Path, columns: Columns) -> Iterator[tuple[int, Cells | Fault]]:
    with open_text(path, most=DATA_BYTES) as file:
        for number, line in enumerate(iter(partial(file.readline, JSON_BYTES), ""), start=1):
            if line.strip():
                yield number, _object(line, f"{path} line {number}")


def _object(line: str, where: str) -> Cells | Fault:
    try:
        cells = parse_json(line, where)
    except UsageError as error:
        return Fault("line that is no JSON", where, str(error).removeprefix(f"{where}:"))
    return cells if isinstance(cells, dict) else Fault("line that is no JSON object", where, type(cells).__name__)


def _columnar(path: Path, columns: Columns) -> Iterator[tuple[int, Cells]]:
    yield from column_rows(path, columns.among(column_names(path), path))


def stored_pictures(path: Path, columns: Columns, numbers: Sequence[int]) -> Generator[bytes | None]:
    """Yield the bytes of the images in these rows of a parquet or arrow file; None for a row without bytes.

    Args:
        path: the file.
        columns: as in table_rows.
        numbers: of the rows, from 1, increasing.

    Raises:
        ValueError: if the file cannot be read or lacks the column.
    """
    image, _ = columns.among(column_names(path), path)
    for _, cells in column_rows(path, [image], numbers):
        picture = _picture(cells[image], path.parent, "")
        yield picture if isinstance(picture, bytes) else None


def _chosen(what: str, name: str | None, known: tuple[str, ...], have: list[str], where: Path) -> str:
    got = ", ".join(have) or "an empty file"
    if name is not None:
        if name in have:
            return _once(name, have, where)
        raise ValueError(f"{where}: expected a column {name!r} (data.{what}_column); got {got}")
    found = [candidate for candidate in known if candidate in have]
    if found and (len(found) == 1 or found[0] == known[0]):
        return _once(found[0], have, where)
    if found:
        raise ValueError(f"{where}: several columns may hold the {what}: {', '.join(found)}; set data.{what}_column")
    address = f"; {NOT_DOWNLOADED}" if what == "image" and any("url" in column.lower() for column in have) else ""
    expected = f"a column {known[0]}, or another named by data.{what}_column"
    raise ValueError(f"{where}: expected {expected}; got {got}{address}")


def _once(name: str, have: list[str], where: Path) -> str:
    if have.count(name) > 1:
        raise ValueError(f"{where}: expected the column {name!r} once, got it {have.count(name)} times")
    return name


_READERS: Mapping[str, Any] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _columnar,
    ".arrow": _columnar,
}
TABLES = tuple(_READERS)
