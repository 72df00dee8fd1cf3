"""What was made of runs, kept until they change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from edgeglass_diag.store import Run

Made = TypeVar("Made")


def state_of_run(run: Run) -> tuple[Hashable, ...]:
    """Return what changes when a run does: its files are opened anew for each answer, so that it tells them apart."""
    newest = tuple(run.window_times(most=1))
    return str(run.folder), str(run.header.get("created")), run.status, run.windows, newest, str(run.record)


class Kept(Generic[Made]):
    """The newest results by what they were made of; the oldest make room.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[Any, Made] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the result for a key, made now where it is not kept."""
        if (made := self._made.get(key)) is None:
            made = self._made[key] = make()
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        return made
