"""Rows of image and captions from a user's files, and a count of the unusable ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class StoredAt:
    """Location of an image in a file of many: `position` is the number of a table's row, or an offset in a tar."""

    file: Path
    position: int


@dataclass(frozen=True)
class Row:
    """One image with its captions, not yet checked.

    Attributes:
        place: file and row, for messages.
        picture: bytes of the image, or its file.
        captions: values of the caption field.
        stored_at: where to read bytes again; None if the image has a file of its own.
    """

    place: str
    picture: bytes | Path
    captions: tuple[object, ...]
    stored_at: StoredAt | None = None


@dataclass(frozen=True)
class Fault:
    """An unusable row, image or caption: its kind, a singular noun such as "empty caption", and its place."""

    kind: str
    place: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.place}{': ' if self.detail else ''}{self.detail}"


Rows = Iterator[Row | Fault]


def one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass
class SkippedRows:
    """Number of rows read, and of unusable ones by kind, with the first of each kind."""

    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, Fault] = field(default_factory=dict)

    def add(self, fault: Fault) -> None:
        """Count an unusable one."""
        self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        self.first.setdefault(fault.kind, fault)

    def __bool__(self) -> bool:
        """Return whether anything is unusable."""
        return bool(self.counts)

    def __str__(self) -> str:
        kinds = [f"{count} x {kind} (first: {self.first[kind]})" for kind, count in self.counts.items()]
        return "; ".join(kinds)
