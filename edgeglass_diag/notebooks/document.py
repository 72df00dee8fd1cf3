"""What is shown, in blocks of words: every text in them is plain, and is escaped where it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence to read first; ``tone`` is that of a verdict or a severity, and ``word`` stands in its colour."""

    word: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A line; ``label`` stands before it, and what is ``quiet`` is of less weight."""

    text: str
    label: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """A command, or a line of source."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below the names of their columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that are opened on demand, where that can be done."""

    title: str
    blocks: Document


@dataclass(frozen=True, slots=True)
class Nested:
    """Blocks below what they follow from."""

    blocks: Document


Block = Headline | Text | Code | Table | Folded | Nested
Document = Sequence[Block]
