"""One pass over a user's files: which pictures with which captions are there, and which part each falls into.

Pictures are told apart by their bytes. So all captions of a picture, and copies of it under other names, fall into the
same part, and nothing that was trained on is tested on under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeglass_models.data.pictures import check_header
from edgeglass_models.data.reading import Source
from edgeglass_models.data.rows import Account, Fault, Inside, Row

Part = Literal["train", "val", "test"]
SHARES: Mapping[Part, float] = {"test": 0.1, "val": 0.1, "train": 0.8}


@dataclass(frozen=True)
class Entry:
    """A usable picture: the row that first has it, its own file or where it is inside of one, SHA-256, captions."""

    place: str
    found: Path | Inside
    digest: str
    captions: tuple[str, ...]


@dataclass
class _Draft:
    place: str
    found: Path | Inside
    part: str
    captions: list[str]


@dataclass
class Scan:
    """What one pass found: the entries of each part in the order of the files, and the account of the rest."""

    parts: dict[str, list[Entry]]
    account: Account


def scan(source: Source, limits: Mapping[str, int | None], *, seed: int = 0) -> Scan:
    """Read every row once, decode none.

    Args:
        source: the files.
        limits: pictures of each part at most, None for all; reading ends when all parts are full, at the next new
            picture. Where the only part is "all", every picture falls into it.
        seed: another seed, other parts.

    Raises:
        ValueError: see Source.rows.
    """
    state = _Pass(limits, seed)
    for row in source.rows():
        state.account.rows += 1
        if isinstance(row, Fault):
            state.account.add(row)
            continue
        if not state.take(row):
            state.account.rows -= 1
            break
    return state.result()


def _bytes(row: Row) -> bytes | Fault:
    """The bytes of a row's picture."""
    if isinstance(row.picture, bytes):
        return row.picture
    try:
        return row.picture.read_bytes()
    except FileNotFoundError:
        return Fault("missing picture", row.place, f"no file {row.picture}")
    except OSError as error:
        return Fault("unreadable picture", row.place, f"{row.picture}: {error.strerror}")


def _found(row: Row) -> Path | Inside:
    """Where the bytes of a row's picture can be read again."""
    if isinstance(row.picture, Path):
        return row.picture
    assert row.inside is not None
    return row.inside


@dataclass
class _Pass:
    limits: Mapping[str, int | None]
    seed: int
    account: Account = field(default_factory=Account)
    drafts: dict[str, _Draft] = field(default_factory=dict)
    digests: dict[Path, str | Fault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(self.limits, 0)

    def take(self, row: Row) -> bool:
        """Take a row in; False where it is new and every part is full."""
        captions = self._captions(row)
        digest = self._digest(row)
        if isinstance(digest, Fault):
            self.account.add(Fault(digest.kind, row.place, digest.detail))
            return True
        draft = self.drafts.get(digest)
        if draft is None:
            if all(self._full(part) for part in self.limits):
                return False
            part = "all" if "all" in self.limits else _part(digest, self.seed)
            if not captions or self._full(part):
                return True
            self.counts[part] += 1
            draft = self.drafts[digest] = _Draft(row.place, _found(row), part, [])
        draft.captions += captions
        return True

    def result(self) -> Scan:
        """The entries by part."""
        parts: dict[str, list[Entry]] = {part: [] for part in self.limits}
        for digest, draft in self.drafts.items():
            parts[draft.part].append(Entry(draft.place, draft.found, digest, tuple(draft.captions)))
        return Scan(parts, self.account)

    def _full(self, part: str) -> bool:
        limit = self.limits[part]
        return limit is not None and self.counts[part] >= limit

    def _captions(self, row: Row) -> list[str]:
        """The usable captions, stripped; the others are counted."""
        usable = []
        for caption in row.captions:
            if caption is None:
                self.account.add(Fault("empty caption", row.place, "none"))
            elif not isinstance(caption, str):
                self.account.add(Fault("caption that is no text", row.place, f"{type(caption).__name__} {caption!r}"))
            elif not caption.strip():
                self.account.add(Fault("empty caption", row.place, repr(caption)))
            else:
                usable.append(caption.strip())
        if not row.captions:
            self.account.add(Fault("empty caption", row.place, "an empty list"))
        return usable

    def _digest(self, row: Row) -> str | Fault:
        """SHA-256 of the picture's bytes, after a look at its header; each file is read once."""
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
    """Part of a picture by a hash of its content: it stays when other pictures come or go."""
    hashed = hashlib.blake2b(f"{seed}/{digest}".encode(), digest_size=8).digest()
    position, border = int.from_bytes(hashed, "big") / 2**64, 0.0
    for part, share in SHARES.items():
        border += share
        if position < border:
            return part
    return "train"
