"""What a page is: a question, parts that are words (sections) and parts that are figures (panels)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.panels import Panel
from edgeglass_diag.signals import Signal


class Page(Protocol):
    """One page; ``body`` arranges the places (ids) that ``sections`` and ``panels`` fill."""

    @property
    def name(self) -> str:
        """What the address calls it."""

    @property
    def title(self) -> str:
        """What its tab says."""

    @property
    def question(self) -> str:
        """What it answers."""

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Signals of the whole run of which the sections want the last readings."""

    def sections(self, context: Context) -> dict[str, Any]:
        """The parts that are words, by id; each travels again only when it changed."""

    def panels(self, context: Context) -> Sequence[Panel]:
        """The figures of the view."""

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """The page below its head; ``content`` has the children of each place by its id."""
