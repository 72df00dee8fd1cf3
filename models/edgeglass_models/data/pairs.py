"""Training data: images, each with its captions, from the user's files or rendered."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from edgeglass_diag.user_input.files import read_bytes
from edgeglass_diag.user_input.limits import PICTURE_BYTES
from edgeglass_models.data.pictures import decode
from edgeglass_models.data.reading import Source
from edgeglass_models.data.rows import Fault, StoredAt, one_line
from edgeglass_models.data.scan import Entry, Scan


class Pairs(Protocol):
    """A sequence of images with captions, and a fingerprint of its content."""

    @property
    def fingerprint(self) -> str:
        """Hash of the content, the same in every process."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, i: int, /) -> tuple[Image.Image, str]:
        """Return image number i and its first caption."""

    def captions(self, i: int, /) -> tuple[str, ...]:
        """Return all captions of image number i, at least one."""

    def pictures(self, indices: Sequence[int], /) -> Generator[Image.Image | Fault, None, None]:
        """Yield the images of these increasing numbers; a fault in place of a damaged one."""


@dataclass(frozen=True)
class UserPairs:
    """Images of the user's files with their captions; an image is read from its file at each access.

    Images of equal bytes are one image, with the captions of all of them.
    """

    source: Source
    entries: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        """Return image number i in RGB and its first caption.

        Raises:
            ValueError: if the image is damaged, or has changed since the files were scanned.
        """
        index = range(len(self))[i]
        picture = next(self.pictures([index]))
        if isinstance(picture, Fault):
            raise ValueError(str(picture))
        return picture, self.entries[index].captions[0]

    def captions(self, i: int) -> tuple[str, ...]:
        """Return all captions of image number i."""
        return self.entries[i].captions

    def pictures(self, indices: Sequence[int]) -> Generator[Image.Image | Fault, None, None]:
        """Yield the images of these increasing numbers, in one pass over the files that contain them.

        Raises:
            ValueError: if the files have changed since they were scanned.
        """
        wanted = [self.entries[i] for i in indices]
        stored = self.source.stored([entry.location for entry in wanted if isinstance(entry.location, StoredAt)])
        with contextlib.closing(stored):
            for entry in wanted:
                yield _picture(_bytes(entry, stored), entry)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the bytes of every image and its captions; file names and times do not count."""
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(repr((entry.digest, entry.captions)).encode())
        return digest.hexdigest()


def _bytes(entry: Entry, stored: Iterator[bytes | None]) -> bytes | None:
    """Return the bytes of an image: those of its own file, or the next of ``stored``."""
    try:
        return (
            read_bytes(entry.location, most=PICTURE_BYTES) if isinstance(entry.location, Path) else next(stored, None)
        )
    except ValueError as error:
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


def split_pairs(scan: Scan, source: Source) -> dict[str, UserPairs]:
    """Return the parts of a scan.

    Raises:
        ValueError: if a part has no image.
    """
    parts: dict[str, UserPairs] = {}
    for name, entries in scan.parts.items():
        if not entries:
            left_out = f"; left out: {scan.skipped}" if scan.skipped else ""
            raise ValueError(f"{source.path}: no usable picture for {name} in {scan.skipped.rows} rows{left_out}")
        parts[name] = UserPairs(source, tuple(entries))
    return parts
