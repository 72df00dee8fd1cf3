"""What a page on the screen has already received, so that only what is new is sent to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from plotly.io.json import to_json_plotly
from pydantic import BeforeValidator, Field, TypeAdapter

from edgeglass_diag.records import Reading
from edgeglass_diag.signals import Signal
from edgeglass_diag.store import Run

Change = tuple[str, dict[str, Any]]
"""The id of a component and its properties that change."""

Row = Annotated[int, Field(ge=0, lt=2**63)]
"""What SQLite can count to."""

Number = Annotated[float, BeforeValidator(lambda value: float("nan") if value is None else value)]
"""A number as JSON has it, which knows no NaN."""

Recent = dict[str, list[tuple[int, Number]]]
"""The last few (step, value) of each signal."""

_RECENT = 5


@dataclass(frozen=True, slots=True)
class Cursor:
    """The state that the browser sends along with every poll.

    ``rows`` holds the last row id per signal or figure, ``recent`` the last values of signals, ``seen`` a digest per
    section and of what each figure shows; ``drawn`` how many columns and rows a figure has. ``token`` tells one
    drawing of a page from the next.
    """

    path: str
    token: str
    page: str = "overview"
    rows: dict[str, Row] = field(default_factory=dict)
    recent: Recent = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    drawn: dict[str, tuple[Row, Row]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor that came from a browser.

        Raises:
            pydantic.ValidationError: when the text is not a cursor.
        """
        return _ADAPTER.validate_json(text)

    def as_dict(self) -> dict[str, Any]:
        """The cursor as JSON data."""
        return asdict(self)

    def advance(self, run: Run, signals: Sequence[Signal]) -> tuple[dict[str, list[Reading]], Cursor]:
        """The readings of the run's own signals (site ``""``) after this cursor, and the cursor after them."""
        fresh: dict[str, list[Reading]] = {}
        rows, recent = dict(self.rows), dict(self.recent)
        for signal in signals:
            found = run.readings(signal, site="", after=self.rows.get(signal, 0))
            fresh[signal] = [reading for _, reading in found]
            points = [(reading.step, reading.values[0]) for _, reading in found[-_RECENT:]]
            rows[signal] = max([self.rows.get(signal, 0), *(row for row, _ in found)])
            recent[signal] = [*self.recent.get(signal, []), *points][-_RECENT:]
        return fresh, replace(self, rows=rows, recent=recent)

    def knows(self, figure: str, shows: str) -> bool:
        """Return whether a figure is on the screen and shows this."""
        return self.seen.get(figure) == shows and figure in self.rows and figure in self.drawn

    def having(self, figure: str, *, row: int, shows: str, size: tuple[int, int]) -> Cursor:
        """The cursor after a figure was drawn or extended up to a row."""
        return replace(
            self,
            rows={**self.rows, figure: row},
            seen={**self.seen, figure: shows},
            drawn={**self.drawn, figure: size},
        )


_ADAPTER = TypeAdapter(Cursor)


def digest(content: Any) -> str:
    """A short digest of anything that can become JSON."""
    return hashlib.sha1(to_json_plotly(content).encode(), usedforsecurity=False).hexdigest()[:12]


def changed_sections(sections: dict[str, Any], seen: dict[str, str]) -> tuple[list[Change], dict[str, str]]:
    """The sections (id -> children) whose content differs from what was seen, and the new digests."""
    digests = {name: digest(children) for name, children in sections.items()}
    changes = [(name, {"children": children}) for name, children in sections.items() if digests[name] != seen.get(name)]
    return changes, {**seen, **digests}
