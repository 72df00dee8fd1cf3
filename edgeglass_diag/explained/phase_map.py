"""A map as an explanation keeps it: how the training goes over a grid of settings. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import product
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Text = Annotated[str, Field(max_length=4096)]


class CellOutcome(StrEnum):
    """What the replays of a cell show."""

    LEARNS = "learns"
    DISAGREE = "seeds disagree"
    """It learns with some seeds only."""
    FAILS = "does not learn"
    COLLAPSED = "collapsed"
    """One side's embeddings are constant."""
    DIVERGED = "diverged"
    """The loss is not finite."""
    CRASHED = "crashed"
    """No replay of it ran."""
    IMPOSSIBLE = "not possible"
    """Its settings are not compatible with each other."""
    NOT_RUN = "not run"
    """The budget was spent before."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)


class MapAxis(_Kept):
    """A setting and its values as they were written."""

    setting: _Text
    values: Annotated[tuple[_Text, ...], Field(min_length=1)]


class MapCell(_Kept):
    """One combination of values, in the order of the axes, and its replays, whose ``label`` it has.

    ``learned`` of ``of`` replays learn; ``losses`` at the end of each, relative to chance (-0.1: 10 % below), None
    where not finite; ``accuracy`` their mean in-batch accuracy, None where unknown; ``crashed`` replays told nothing.
    """

    values: tuple[_Text, ...]
    label: _Text
    outcome: CellOutcome
    learned: int = 0
    of: int = 0
    losses: tuple[float | None, ...] = ()
    accuracy: float | None = None
    crashed: int = 0

    @property
    def loss(self) -> float | None:
        """The mean loss of its replays, None where one is not finite or none ran."""
        finite = [loss for loss in self.losses if loss is not None]
        return sum(finite) / len(finite) if finite and len(finite) == len(self.losses) else None


class MapLine(_Kept):
    """A line of the map along one axis on which outcomes differ beyond seeds.

    ``others`` are the values of the other settings; ``worst`` and ``best`` the values with the highest and lowest
    loss; ``decides`` says that it learns with the best and not with the worst.
    """

    others: _Text
    worst: _Text
    best: _Text
    worst_loss: float | None = None
    best_loss: float | None = None
    decides: bool = False


class MapEffect(_Kept):
    """What one setting does: ``where`` its value makes a difference, of so many ``lines``."""

    setting: _Text
    lines: int
    where: tuple[MapLine, ...] = ()

    @property
    def decides(self) -> int:
        """Number of lines on which it decides whether the training learns."""
        return sum(line.decides for line in self.where)


class Panel(_Kept):
    """A part of the map in two dimensions: ``rows`` of cells, with the ``title`` of the other settings' values."""

    title: str
    rows: tuple[tuple[MapCell, ...], ...]


class KeptMap(_Kept):
    """A map: the first axis goes from left to right, the second from top to bottom, others make panels."""

    axes: Annotated[tuple[MapAxis, ...], Field(min_length=1)]
    cells: tuple[MapCell, ...]
    effects: tuple[MapEffect, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> KeptMap:
        wanted = list(product(*(axis.values for axis in self.axes)))
        if [cell.values for cell in self.cells] != wanted:
            raise ValueError(f"expected the {len(wanted)} cells of its axes in their order")
        return self

    def counts(self) -> dict[CellOutcome, int]:
        """Return how many cells have each outcome, of those that there are."""
        found = [cell.outcome for cell in self.cells]
        return {outcome: found.count(outcome) for outcome in CellOutcome if outcome in found}

    @property
    def x(self) -> MapAxis:
        """The axis from left to right."""
        return self.axes[0]

    @property
    def y(self) -> MapAxis | None:
        """The axis from top to bottom, None for a map of one row."""
        return self.axes[1] if len(self.axes) > 1 else None

    def panels(self) -> Iterator[Panel]:
        """Yield the parts of the map in two dimensions."""
        cells = {cell.values: cell for cell in self.cells}
        more = self.axes[2:]
        ys = [()] if self.y is None else [(value,) for value in self.y.values]
        for others in product(*(axis.values for axis in more)):
            title = ", ".join(f"{axis.setting} = {value}" for axis, value in zip(more, others, strict=True))
            yield Panel(title=title, rows=tuple(tuple(cells[(x, *y, *others)] for x in self.x.values) for y in ys))
