"""What a case of the bench is: a named change to a healthy training, with the codes that name it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_models.faults.training import Setup, train

Change = Callable[[Setup], object]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: of the function that makes the change, with dashes.
        summary: its docstring's first line.
        expected: codes that name the fault; none for a healthy variant.
        places: sites of which a finding's begins with one, where the fault sits; none where it has no place.
        acts: the step from which on it can act.
        fast: whether it belongs to the fast subset.
    """

    name: str
    summary: str
    expected: tuple[str, ...]
    places: tuple[str, ...]
    acts: int
    fast: bool
    change: Change

    def job(self, seed: int) -> FaultJob:
        """The training of this case with a seed."""
        return FaultJob(self, seed)


@dataclass(frozen=True)
class FaultJob:
    """A training of a case, as the doctor runs it."""

    case: Case
    seed: int

    @property
    def name(self) -> str:
        """Case and seed."""
        return f"{self.case.name}-{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What tells it apart."""
        return {"case": self.case.name, "summary": self.case.summary, "seed": self.seed}

    def prepare(self) -> int:
        """Number of optimizer steps."""
        return self._setup().steps

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train; returns the last metrics."""
        return dict(train(self._setup(), log))

    def _setup(self) -> Setup:
        setup = Setup(seed=self.seed)
        self.case.change(setup)
        return setup


class Cases:
    """A list that functions add themselves to."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def fault(
        self, *expected: str, at: tuple[str, ...] = (), acts: int = 0, fast: bool = False
    ) -> Callable[[Change], Change]:
        """Declare a function a fault: what names it, where it sits, from when on it acts."""
        return lambda change: self._add(change, expected, at, acts, fast)

    def healthy(self, *, fast: bool = False) -> Callable[[Change], Change]:
        """Declare a function a healthy variant."""
        return lambda change: self._add(change, (), (), 0, fast)

    def _add(self, change: Change, expected: tuple[str, ...], at: tuple[str, ...], acts: int, fast: bool) -> Change:
        name = getattr(change, "__name__", "").replace("_", "-")
        summary = inspect.cleandoc(change.__doc__ or "").split("\n")[0]
        self.all.append(Case(name, summary, expected, at, acts, fast, change))
        return change
