"""What is known of living tensors and modules, by identity: the one map from things to facts."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Fact = TypeVar("Fact")

_FEW = 1024
"""Facts up to which the dead are left where they are."""


class Facts(Generic[Thing, Fact]):
    """One fact for each of some things, none of which it keeps alive.

    A thing is known by its id and checked by a weak reference, as ids of the dead are given again. Neither its hash
    nor its equality is asked for: a module that is a dataclass has no hash, and tensors are equal entry by entry.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Thing], Fact]] = {}
        self._limit = _FEW

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, thing: Thing) -> bool:
        entry = self._entries.get(id(thing))
        return entry is not None and entry[0]() is thing

    def get(self, thing: Thing) -> Fact | None:
        """Return the fact of a thing, None where there is none."""
        entry = self._entries.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else None

    def set(self, thing: Thing, fact: Fact) -> None:
        """Note a fact in the place of an earlier one."""
        self._entries[id(thing)] = weakref.ref(thing), fact
        if len(self._entries) > self._limit:
            self.prune()
            self._limit = max(_FEW, 2 * len(self._entries))

    def set_each(self, things: Iterable[Thing], fact: Fact) -> None:
        """Note the same fact of several things."""
        self._entries |= {id(thing): (weakref.ref(thing), fact) for thing in things}
        if len(self._entries) > self._limit:
            self.prune()
            self._limit = max(_FEW, 2 * len(self._entries))

    def unknown(self, things: Iterable[Thing]) -> list[Thing]:
        """Return the things of which there is no fact."""
        entries = self._entries
        return [t for t in things if (entry := entries.get(id(t))) is None or entry[0]() is not t]

    def items(self) -> Iterator[tuple[Thing, Fact]]:
        """Yield the things that are alive, in the order in which they were first noted, and their facts."""
        for reference, fact in list(self._entries.values()):
            thing = reference()
            if thing is not None:
                yield thing, fact

    def remove(self, matching: Callable[[Fact], bool]) -> None:
        """Forget the facts for which ``matching`` is true."""
        self._entries = {key: entry for key, entry in self._entries.items() if not matching(entry[1])}

    def prune(self) -> None:
        """Forget things that are gone, and with them what their facts keep alive."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0]() is not None}

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
