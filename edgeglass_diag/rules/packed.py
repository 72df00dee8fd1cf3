"""Where series lie in memory: the values of all sites of a signal in one array, their steps once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from weakref import WeakValueDictionary

from edgeglass_diag.thinning import MOST, kept_indices

SHORT = 64
"""Readings of a series for which there is room at first. Behind them there is room for the longest: memory is taken
early in a run, and stays as it is."""


class Rows:
    """Values of one signal, a row for each site.

    They take 4 bytes while all of them are numbers of single precision, and 8 from the first one on that is not: what
    is read is what was put.

    >>> rows = Rows()
    >>> row = rows.new()
    >>> rows.put(row, 0, 0.5), rows.put(row, 1, 0.1)
    (None, None)
    >>> rows.part(row, 0, 2)
    array('d', [0.5, 0.1])
    """

    __slots__ = ("count", "values", "width")

    def __init__(self) -> None:
        self.values: array[float] = array("f")
        self.width = SHORT
        self.count = 0

    def new(self) -> int:
        """Return the number of a new row."""
        self.values.frombytes(bytes(self.width * self.values.itemsize))
        self.count += 1
        return self.count - 1

    def put(self, row: int, index: int, value: float) -> None:
        """Write one value of a row; ``index`` is below ``MOST``."""
        if index >= self.width:
            self._widen()
        place = row * self.width + index
        self.values[place] = value
        if self.values[place] != value == value and self.values.typecode == "f":  # NaN differs from itself
            self.values = array("d", self.values)
            self.values[place] = value

    def at(self, row: int, index: int) -> float:
        """Return one value of a row."""
        return self.values[row * self.width + index]

    def part(self, row: int, first: int, end: int) -> array[float]:
        """Return a copy of the values of a row from ``first`` to before ``end``."""
        begin = row * self.width
        return self.values[begin + first : begin + end]

    def keep(self, row: int, indices: array[int]) -> None:
        """Move the values of a row at these indices, rising, to its beginning."""
        import numpy as np  # rules are loaded before a program, which may set up numpy first

        begin = row * self.width * self.values.itemsize
        values = np.frombuffer(self.values, self.values.typecode, self.width, begin)
        values[: len(indices)] = values[np.frombuffer(indices, "q")]

    def _widen(self) -> None:
        wide: array[float] = array(self.values.typecode, bytes(self.count * MOST * self.values.itemsize))
        for row in range(self.count):
            wide[row * MOST : row * MOST + self.width] = self.part(row, 0, self.width)
        self.values, self.width = wide, MOST


class Steps:
    """Rising steps that many series have in common as long as they are recorded together; only appended to.

    A series has the first of them, as many as it has values. One that is not recorded with the others parts from them.
    What several come to by the same way is one object again, as long as one of them has it.

    Attributes:
        recorded: the steps.
        kept: of steps that are thinned ones, the indices at which they lay before.

    >>> steps = Steps([0, 10, 20])
    >>> first = steps.parted(2)
    >>> steps.parted(2) is first, first.recorded
    (True, array('q', [0, 10]))
    """

    __slots__ = ("__weakref__", "_others", "kept", "recorded")

    def __init__(self, recorded: Sequence[int] = (), kept: Sequence[int] = ()) -> None:
        self.recorded = array("q", recorded)
        self.kept = array("q", kept)
        self._others: WeakValueDictionary[int | tuple[int, ...], Steps] = WeakValueDictionary()

    def parted(self, count: int) -> Steps:
        """Return the first ``count`` steps without the next one, themselves if there is none."""
        steps = self
        while len(steps.recorded) != count:
            steps = steps._begun_alike(count)
        return steps

    def joined(self, count: int, step: int) -> Steps:
        """Return the first ``count`` steps with ``step`` as the next one."""
        steps = self
        while count < len(steps.recorded) and steps.recorded[count] != step:
            steps = steps._begun_alike(count)
        if count == len(steps.recorded):
            steps.recorded.append(step)
        return steps

    def thinned(self, extra: tuple[int, ...]) -> Steps:
        """Return what is kept of all of them (``kept_indices``), with those at some indices more."""
        found = self._others.get(extra)
        if found is None:
            kept = sorted({*kept_indices(self.recorded), *extra})
            found = self._others[extra] = Steps([self.recorded[index] for index in kept], kept)
        return found

    def _begun_alike(self, count: int) -> Steps:
        """Return the steps of those that began with the first ``count`` of these and went on otherwise."""
        found = self._others.get(count)
        if found is None:
            found = self._others[count] = Steps(self.recorded[:count])
        return found
