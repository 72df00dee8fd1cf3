"""What events come from: hooks, modes and patches, put in place and taken away together."""

from __future__ import annotations

from typing import Protocol

from edgeglass_diag.record.boundary import Boundary
from edgeglass_diag.record.signal_handlers import is_failure


class EventSource(Protocol):
    """Something in place while a window is recorded."""

    def attach(self) -> None:
        """Begin to observe; does nothing where it observes already."""

    def detach(self) -> None:
        """Cease to observe; does nothing where it does not observe."""


class EventSources:
    """All sources of events of one watch: in place together, or none.

    Args:
        boundary: where a source that fails is noted.

    Attributes:
        attached: whether they are in place.
    """

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._sources: list[EventSource] = []
        self.attached = False

    def add(self, source: EventSource) -> None:
        """Attach and detach one more from now on."""
        self._sources.append(source)

    def attach(self) -> None:
        """Put all in place; where one fails, none: what the others see would be taken for all there is."""
        try:
            self.attached = True
            for source in self._sources:
                source.attach()
        except BaseException as error:
            self.detach()
            if not is_failure(error):
                raise
            self._boundary.broken(error, "sources")

    def detach(self) -> None:
        """Take all away, and one that fails a second time."""
        self.attached = False
        self._boundary.take_away(*(source.detach for source in self._sources))
