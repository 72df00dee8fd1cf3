"""One pass over the user's files: list images with their captions and assign each to a part.

Images are identified by their bytes: all captions of an image, and its copies under other names, are in the same part,
so that no training image is in the test set under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeglass_diag.errors import UsageError
from edgeglass_diag.user_input.files import exists, read_bytes
from edgeglass_diag.user_input.limits import PICTURE_BYTES
from edgeglass_models.data.pictures import check_header
from edgeglass_models.data.reading import Source
from edgeglass_models.data.rows import Fault, Row, SkippedRows, StoredAt

Part = Literal["train", "val", "test"]
SHARES: Mapping[Part, float] = {"test": 0.1, "val": 0.1, "train": 0.8}


@dataclass(frozen=True)
class Entry:
    """A usable image.

    Attributes:
        place: file and row where it first occurs, for messages.
        location: its own file, or its location in a file of many.
        digest: SHA-256 of its bytes, in hexadecimal.
        captions: at least one.
    """

    place: str
    location: Path | StoredAt
    digest: str
    captions: tuple[str, ...]


@dataclass
class _Draft:
    place: str
    location: Path | StoredAt
    part: str
    captions: list[str]


@dataclass
class Scan:
    """Result of one pass: the entries of each part in the order of the files, and the count of unusable rows."""

    parts: dict[str, list[Entry]]
    skipped: SkippedRows


def scan(source: Source, limits: Mapping[str, int | None], *, seed: int = 0) -> Scan:
    """Return the usable images of a source by part; every row is read once, no image is decoded.

    Args:
        source: the files.
        limits: largest number of images of each part, None for no limit; reading ends at the next new image once all
            parts are full. With the only part "all", every image is assigned to it.
        seed: of the assignment to parts.

    Raises:
        ValueError: as Source.rows.
    """
    state = _Pass(limits, seed)
    for row in source.rows():
        state.skipped.rows += 1
        if isinstance(row, Fault):
            state.skipped.add(row)
            continue
        if not state.add(row):
            state.skipped.rows -= 1
            break
    return state.result()


def _bytes(row: Row) -> bytes | Fault:
    """Return the bytes of a row's image, or a fault if its file cannot be read."""
    if isinstance(row.picture, bytes):
        return row.picture
    if not exists(row.picture):
        return Fault("missing picture", row.place, f"no file {row.picture}")
    try:
        return read_bytes(row.picture, most=PICTURE_BYTES)
    except UsageError as error:
        return Fault("unreadable picture", row.place, str(error))


def _location(row: Row) -> Path | StoredAt:
    """Return where the bytes of a row's image can be read again."""
    if isinstance(row.picture, Path):
        return row.picture
    assert row.stored_at is not None
    return row.stored_at


@dataclass
class _Pass:
    limits: Mapping[str, int | None]
    seed: int
    skipped: SkippedRows = field(default_factory=SkippedRows)
    drafts: dict[str, _Draft] = field(default_factory=dict)
    digests: dict[Path, str | Fault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(self.limits, 0)

    def add(self, row: Row) -> bool:
        """Add a row; return False if its image is new and every part is full."""
        captions = self._captions(row)
        digest = self._digest(row)
        if isinstance(digest, Fault):
            self.skipped.add(Fault(digest.kind, row.place, digest.detail))
            return True
        draft = self.drafts.get(digest)
        if draft is None:
            if all(self._full(part) for part in self.limits):
                return False
            part = "all" if "all" in self.limits else _part(digest, self.seed)
            if not captions or self._full(part):
                return True
            self.counts[part] += 1
            draft = self.drafts[digest] = _Draft(row.place, _location(row), part, [])
        draft.captions += captions
        return True

    def result(self) -> Scan:
        """Return the entries by part."""
        parts: dict[str, list[Entry]] = {part: [] for part in self.limits}
        for digest, draft in self.drafts.items():
            parts[draft.part].append(Entry(draft.place, draft.location, digest, tuple(draft.captions)))
        return Scan(parts, self.skipped)

    def _full(self, part: str) -> bool:
        limit = self.limits[part]
        return limit is not None and self.counts[part] >= limit

    def _captions(self, row: Row) -> list[str]:
        """Return the usable captions, stripped, and count the others."""
        usable = []
        for caption in row.captions:
            if caption is None:
                self.skipped.add(Fault("empty caption", row.place, "none"))
            elif not isinstance(caption, str):
                self.skipped.add(Fault("caption that is no text", row.place, f"{type(caption).__name__} {caption!r}"))
            elif not caption.strip():
                self.skipped.add(Fault("empty caption", row.place, repr(caption)))
            else:
                usable.append(caption.strip())
        if not row.captions:
            self.skipped.add(Fault("empty caption", row.place, "an empty list"))
        return usable

    def _digest(self, row: Row) -> str | Fault:
        """Return the SHA-256 of the image's bytes after a check of its header; each file is read once."""
        if isinstance(row.picture, bytes):
            return _checked_digest(row)
        if row.picture not in self.digests:
            self.digests[row.picture] = _checked_digest(row)
        return self.digests[row.picture]


def _checked_digest(row: Row) -> str | Fault:
    data = _bytes(row)
    if isinstance(data, Fault):
        return data
    try:
        check_header(data)
    except ValueError as error:
        name = f"{row.picture}: " if isinstance(row.picture, Path) else ""
        return Fault("unreadable picture", row.place, f"{name}{error}")
    return hashlib.sha256(data).hexdigest()


def _part(digest: str, seed: int) -> Part:
    """Return the part of an image by a hash of its content, which does not depend on other images."""
    hashed = hashlib.blake2b(f"{seed}/{digest}".encode(), digest_size=8).digest()
    position, border = int.from_bytes(hashed, "big") / 2**64, 0.0
    for part, share in SHARES.items():
        border += share
        if position < border:
            return part
    return "train"
