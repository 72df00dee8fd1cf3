"""What is given to a reader, and what a reader is: one entry of ``tests.fuzz.readers.READERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any


@dataclass(frozen=True)
class Input:
    """Files of a folder, the words of a command line, and the numbers that must be read; None where none are known."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    expected: Any = None


@dataclass(frozen=True)
class Reader:
    """A door of the package.

    Attributes:
        name: of the reader, a row of the table.
        seeds: valid inputs, whose files are mutated.
        generate: an input of the reader's own structure; the generator may be a strategy of hypothesis.
        use: give an input, whose files are in a folder, to the reader; what it may raise is UsageError alone.
        numbers: what was read, to be compared with ``expected``.
        share: of the inputs, relative to the other readers.
    """

    name: str
    seeds: Callable[[], Sequence[Input]]
    generate: Callable[[Random], Input]
    use: Callable[[Path, Input], None]
    numbers: Callable[[Path], Any] | None = None
    share: float = 1.0
