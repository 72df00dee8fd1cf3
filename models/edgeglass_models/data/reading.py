"""Which reader fits what a user points to: a file, a folder, or a pattern of several."""

from __future__ import annotations

import glob
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from edgeglass_models.data.coco import coco_rows
from edgeglass_models.data.rows import Inside, Rows
from edgeglass_models.data.shards import shard_rows, stored_members
from edgeglass_models.data.tables import TABLES, Columns, stored_pictures, table_rows

_SHARDS = (".tar", ".tar.gz", ".tgz")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_BRACES = re.compile(r"\{([^{}]*)\}")
FORMATS = f"{', '.join(TABLES)}, COCO .json, .tar shards, or a folder with one of {', '.join(_METADATA)}"


@dataclass(frozen=True)
class Source:
    """Where pictures and captions are: `path` is a file, a folder, or a pattern (``*``, ``{000..009}``, ``{a,b}``).

    `images` is the folder that picture paths are relative to, where it is not the file's own.
    """

    path: Path
    images: Path | None = None
    columns: Columns = field(default_factory=Columns)

    def rows(self) -> Rows:
        """All rows in order: files sorted by name, rows as they stand. Nothing is held but the row.

        Raises:
            ValueError: nothing is there, the form is unknown, or a file is unreadable as a whole.
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

    def stored(self, places: Sequence[Inside]) -> Generator[bytes | None]:
        """The bytes that stand at these places, which come as rows() gave them; None where there are none any more.

        Only what holds them is read: row groups of parquet, members of a tar. (What is compressed as a whole, and an
        arrow file, is read up to there.)

        Raises:
            ValueError: a file cannot be read.
        """
        for file, inside in groupby(places, key=lambda place: place.file):
            positions = [place.position for place in inside]
            if file.name.lower().endswith(_SHARDS):
                yield from stored_members(file, positions)
            else:
                yield from stored_pictures(file, self.columns, positions)

    def files(self) -> list[Path]:
        """The files that `path` stands for."""
        if self.path.is_dir():
            return _in_folder(self.path)
        names = _expand(str(self.path))
        found = [file for name in names for file in _matching(name)]
        missing = [file for file in found if not file.is_file()]
        if missing:
            raise ValueError(f"{missing[0]}: no such file or folder")
        return found


def _matching(name: str) -> list[Path]:
    """The file of that name, else what it matches as a pattern, else itself: a file may have brackets in its name."""
    found = [] if Path(name).exists() else sorted(glob.glob(name))
    return [Path(match) for match in found] or [Path(name)]


def _in_folder(folder: Path) -> list[Path]:
    for name in _METADATA:
        if (folder / name).is_file():
            return [folder / name]
    for pattern in ("*.tar", "*.parquet", "*.arrow"):
        if found := sorted(folder.glob(pattern)):
            return found
    raise ValueError(f"{folder}: expected {' or '.join(_METADATA)}, or .tar, .parquet or .arrow files; got none")


def _expand(pattern: str) -> list[str]:
    """Braces as a shell expands them: {a,b}, and {000..009} with the width of its numbers."""
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if numbers:
        low, high = numbers.groups()
        parts = [f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]
    else:
        parts = match[1].split(",")
    return [name for part in parts for name in _expand(pattern[: match.start()] + part + pattern[match.end() :])]
