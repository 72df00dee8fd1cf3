"""What events come from: hooks, modes and patches, put in place and taken away together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class EventSource(Protocol):
    """Something in place while a window is recorded."""

    def attach(self) -> None:
        """Begin to observe; does nothing where it observes already."""

    def detach(self) -> None:
        """Cease to observe; does nothing where it does not observe."""


class EventSources:
    """All sources of events of one watch.

    Attributes:
        attached: whether they are in place.
    """

    def __init__(self) -> None:
        self._sources: list[EventSource] = []
        self.attached = False

    def add(self, source: EventSource) -> None:
        """Attach and detach one more from now on."""
        self._sources.append(source)

    def attach(self) -> None:
        """Put all in place."""
        self.attached = True
        for source in self._sources:
            source.attach()

    def detach(self) -> None:
        """Take all away."""
        self.attached = False
        for source in self._sources:
            source.detach()

    @contextmanager
    def detached(self) -> Iterator[None]:
        """A block in which none is in place."""
        self.detach()
        try:
            yield
        finally:
            self.attach()
