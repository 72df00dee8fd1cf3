"""What a file of pictures and captions says, row by row, and the account of what cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Inside:
    """Where bytes stand in a file of many: `position` is the number of a table's row, or an offset in a tar."""

    file: Path
    position: int


@dataclass(frozen=True)
class Row:
    """One picture with what stands as its captions: `place` names file and row, `picture` is its bytes or its file.

    `inside` says where bytes are found again.
    """

    place: str
    picture: bytes | Path
    captions: tuple[object, ...]
    inside: Inside | None = None


@dataclass(frozen=True)
class Fault:
    """Something that cannot be used: its kind, a noun in the singular such as "empty caption", and where it stands."""

    kind: str
    place: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.place}{': ' if self.detail else ''}{self.detail}"


Rows = Iterator[Row | Fault]


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass
class Account:
    """How much was read and what of it could not be used, by kind, with the first of each."""

    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, Fault] = field(default_factory=dict)

    def add(self, fault: Fault) -> None:
        """Count one more."""
        self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        self.first.setdefault(fault.kind, fault)

    def __bool__(self) -> bool:
        """Whether anything could not be used."""
        return bool(self.counts)

    def __str__(self) -> str:
        said = [f"{count} x {kind} (first: {self.first[kind]})" for kind, count in self.counts.items()]
        return "; ".join(said)
