"""What the patients train on: pictures, each with its captions, of a user's files or made by us."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from edgeglass_models.data.pictures import decode
from edgeglass_models.data.reading import Source
from edgeglass_models.data.rows import Fault, Inside, one_line
from edgeglass_models.data.scan import Entry, Scan


class Pairs(Protocol):
    """A sequence of pictures with captions that knows what identifies its content."""

    @property
    def fingerprint(self) -> str:
        """Stable hash: the same in every process, another one where the content is another."""

    def __len__(self) -> int:
        """Number of pictures."""

    def __getitem__(self, i: int, /) -> tuple[Image.Image, str]:
        """Return picture number i and the first of its captions."""

    def captions(self, i: int, /) -> tuple[str, ...]:
        """All captions of picture number i, at least one."""

    def pictures(self, indices: Sequence[int], /) -> Generator[Image.Image | Fault, None, None]:
        """Pictures of these numbers, which increase, one at a time; a fault in the place of one that is damaged."""


@dataclass(frozen=True)
class OwnPairs:
    """Pictures of a user's files with their captions, read again from the files whenever a picture is asked for.

    Pictures of equal bytes are one picture, with the captions of all.
    """

    source: Source
    entries: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        """Return picture number i (RGB) and the first of its captions.

        Raises:
            ValueError: the picture is damaged, or has changed since the files were scanned.
        """
        index = range(len(self))[i]
        picture = next(self.pictures([index]))
        if isinstance(picture, Fault):
            raise ValueError(str(picture))
        return picture, self.entries[index].captions[0]

    def captions(self, i: int) -> tuple[str, ...]:
        """All captions of picture number i."""
        return self.entries[i].captions

    def pictures(self, indices: Sequence[int]) -> Generator[Image.Image | Fault, None, None]:
        """Pictures of these numbers, one at a time, in one pass over the files that hold them.

        Raises:
            ValueError: the files have changed since they were scanned.
        """
        wanted = [self.entries[i] for i in indices]
        stored = self.source.stored([entry.found for entry in wanted if isinstance(entry.found, Inside)])
        with contextlib.closing(stored):
            for entry in wanted:
                yield _picture(_bytes(entry, stored), entry)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the bytes of every picture and its captions, not over names or times of change."""
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(repr((entry.digest, entry.captions)).encode())
        return digest.hexdigest()


def _bytes(entry: Entry, stored: Iterator[bytes | None]) -> bytes | None:
    """The bytes of a picture: its own file's, or the next of those that are stored in a file of many."""
    try:
        return entry.found.read_bytes() if isinstance(entry.found, Path) else next(stored, None)
    except (OSError, ValueError) as error:
        raise ValueError(f"{entry.place}: the data changed while they were read: {one_line(error)}") from error


def _picture(data: bytes | None, entry: Entry) -> Image.Image | Fault:
    if data is None:
        raise ValueError(f"{entry.place}: is no longer there: the data changed while they were read")
    if hashlib.sha256(data).hexdigest() != entry.digest:
        raise ValueError(f"{entry.place}: is another picture than before: the data changed while they were read")
    try:
        return decode(data)
    except ValueError as error:
        return Fault("damaged picture", entry.place, str(error))


def split_pairs(scan: Scan, source: Source) -> dict[str, OwnPairs]:
    """The parts that a scan made.

    Raises:
        ValueError: a part has no picture.
    """
    parts: dict[str, OwnPairs] = {}
    for name, entries in scan.parts.items():
        if not entries:
            said = f"; left out: {scan.account}" if scan.account else ""
            raise ValueError(f"{source.path}: no usable picture for {name} in {scan.account.rows} rows{said}")
        parts[name] = OwnPairs(source, tuple(entries))
    return parts
