"""Choose the reader for the user's data: a file, a folder, or a pattern of files."""

from __future__ import annotations

import glob
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

from edgeglass_diag.user_input.files import exists, is_file, is_folder, nothing_at
from edgeglass_diag.user_input.limits import FILES
from edgeglass_models.data.coco import coco_rows
from edgeglass_models.data.rows import Rows, StoredAt
from edgeglass_models.data.shards import shard_rows, stored_members
from edgeglass_models.data.tables import TABLES, Columns, stored_pictures, table_rows

_SHARDS = (".tar", ".tar.gz", ".tgz")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_BRACES = re.compile(r"\{([^{}]*)\}")
FORMATS = f"{', '.join(TABLES)}, COCO .json, .tar shards, or a folder with one of {', '.join(_METADATA)}"


@dataclass(frozen=True)
class Source:
    """Images and captions on disk.

    Attributes:
        path: a file, a folder, or a pattern (``*``, ``{000..009}``, ``{a,b}``).
        images: folder to which image paths are relative; None for the folder of the file.
        columns: names of the columns of a table.
    """

    path: Path
    images: Path | None = None
    columns: Columns = field(default_factory=Columns)

    def rows(self) -> Rows:
        """Yield all rows: files sorted by name, rows in file order; one row is in memory at a time.

        Raises:
            ValueError: if there is no file, its format is unknown, or a whole file is unreadable.
        """
        for file in self.files():
            suffix = file.suffix.lower()
            if file.name.lower().endswith(_SHARDS):
                yield from shard_rows(file, self.columns.caption)
            elif suffix in TABLES:
                yield from table_rows(file, self.columns, self.images or file.parent)
            elif suffix == ".json":
                yield from coco_rows(file, self.images)
            else:
                raise ValueError(f"{file}: expected {FORMATS}; got a file that ends in {suffix or 'nothing'}")

    def stored(self, locations: Sequence[StoredAt]) -> Generator[bytes | None]:
        """Yield the bytes at these locations, in the order of rows(); None if there are no bytes any more.

        It reads only the row groups of a parquet file, or members of a tar, that contain them; a compressed tar and an
        arrow file are read from the beginning.

        Raises:
            ValueError: if a file cannot be read.
        """
        for file, group in groupby(locations, key=lambda location: location.file):
            positions = [location.position for location in group]
            if file.name.lower().endswith(_SHARDS):
                yield from stored_members(file, positions)
            else:
                yield from stored_pictures(file, self.columns, positions)

    def files(self) -> list[Path]:
        """Return the files that match `path`.

        Raises:
            ValueError: if a file does not exist.
        """
        if is_folder(self.path):
            return _in_folder(self.path)
        names = list(islice(_expand(str(self.path)), FILES + 1))
        if len(names) > FILES:
            raise ValueError(f"{self.path}: expected a pattern of at most {FILES} files, got more")
        found = [file for name in names for file in _matching(name)]
        missing = [file for file in found if not is_file(file)]
        if missing:
            raise nothing_at(missing[0], "file or folder")
        return found


def _matching(name: str) -> list[Path]:
    """Return the file of this name, else the matches of the name as a pattern; a file name may contain brackets."""
    found = [] if exists(Path(name)) else sorted(glob.glob(name))
    return [Path(match) for match in found] or [Path(name)]


def _in_folder(folder: Path) -> list[Path]:
    for name in _METADATA:
        if is_file(folder / name):
            return [folder / name]
    for pattern in ("*.tar", "*.parquet", "*.arrow"):
        if found := sorted(folder.glob(pattern)):
            return found
    raise ValueError(f"{folder}: expected {' or '.join(_METADATA)}, or .tar, .parquet or .arrow files; got none")


def _expand(pattern: str) -> Iterator[str]:
    """Yield the pattern with braces expanded as by a shell: {a,b}, and {000..009} with leading zeros."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    numbers = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", match[1])
    if numbers:
        low, high = numbers.groups()
        parts: Iterable[str] = (f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1))
    else:
        parts = match[1].split(",")
    for part in parts:
        yield from _expand(pattern[: match.start()] + part + pattern[match.end() :])
