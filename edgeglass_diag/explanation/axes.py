"""The axes of a map: settings, and the values that are tried of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from edgeglass_diag.records import UsageError

MOST_AXES, MOST_CELLS = 4, 1000

Cell = tuple[str, ...]
"""A value of each axis, in their order."""

_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "\"'"


@dataclass(frozen=True)
class Axis:
    """A setting with its values, as they were written.

    Attributes:
        name: of the setting: ``optim.lr``, ``--lr``, ``$NAME`` or ``initial.std@latents``.
        values: at least two.
    """

    name: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return what ``parse`` reads."""
        return f"{self.name}={','.join(self.values)}"

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Return the axis of ``NAME=VALUE,VALUE,...``; a comma inside of brackets or quotes belongs to its value.

        Raises:
            UsageError: for anything else, fewer than two values, and a value that is there twice.

        >>> Axis.parse("model.mrl_dims=[8,16],[16]")
        Axis(name='model.mrl_dims', values=('[8,16]', '[16]'))
        """
        name, separator, rest = text.partition("=")
        values = tuple(_split(rest))
        if not separator or not name.strip() or not all(values):
            raise UsageError(f"--map {text}: expected NAME=VALUE,VALUE,..., as optim.lr=1e-3,1e-2")
        if len(values) < 2:
            raise UsageError(f"--map {text}: expected at least two values, got {len(values)}")
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise UsageError(f"--map {text}: expected each value once, got {twice[0]} twice")
        return cls(name.strip(), values)


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Return the axes of a map, the first of which is drawn from left to right and the second from top to bottom.

    Raises:
        UsageError: for what is no axis, a setting that has two, more than four axes, or more than 1000 cells.
    """
    axes = tuple(Axis.parse(text) for text in texts)
    names = [axis.name for axis in axes]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UsageError(f"--map {twice[0]}: expected each setting once, with all of its values")
    if len(axes) > MOST_AXES:
        raise UsageError(f"--map: expected at most {MOST_AXES} settings, got {len(axes)}")
    number = math.prod(len(axis.values) for axis in axes)
    if number > MOST_CELLS:
        raise UsageError(f"--map: expected at most {MOST_CELLS} cells, got {number}")
    return axes


def cells_of(axes: Sequence[Axis]) -> list[Cell]:
    """Return all combinations of the values."""
    return list(product(*(axis.values for axis in axes)))


def label_of(axes: Sequence[Axis], cell: Cell) -> str:
    """Return the words for a cell: the same in whatever order the axes were given."""
    return " ".join(sorted(f"{axis.name}={value}" for axis, value in zip(axes, cell, strict=True)))


def _split(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        else:
            depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
