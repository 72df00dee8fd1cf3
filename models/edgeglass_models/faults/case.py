"""Cases of the bench: a named change to a healthy training, with the codes of rules that name it."""

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
    """A fault or a healthy variant.

    Attributes:
        name: name of the function that makes the change, with dashes.
        summary: first line of its docstring.
        expected: codes of rules that name the fault; empty for a healthy variant.
        places: prefixes of the sites of the fault; empty if it has no site of its own.
        acts: first optimizer step at which the fault can have an effect.
        fast: whether it belongs to the fast subset.
        change: function that makes the change.
    """

    name: str
    summary: str
    expected: tuple[str, ...]
    places: tuple[str, ...]
    acts: int
    fast: bool
    change: Change

    def job(self, seed: int) -> FaultJob:
        """Return the training of this case with a seed."""
        return FaultJob(self, seed)


@dataclass(frozen=True)
class FaultJob:
    """A training of a case, as a job of the bench."""

    case: Case
    seed: int

    @property
    def name(self) -> str:
        """Case and seed."""
        return f"{self.case.name}-{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """Case, summary and seed."""
        return {"case": self.case.name, "summary": self.case.summary, "seed": self.seed}

    def prepare(self) -> int:
        """Return the number of optimizer steps."""
        return self._setup().steps

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train and return the last metrics."""
        return dict(train(self._setup(), log))

    def _setup(self) -> Setup:
        setup = Setup(seed=self.seed)
        self.case.change(setup)
        return setup


class Cases:
    """A registry of cases; its methods are decorators of the functions that make the changes."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def fault(
        self, *expected: str, at: tuple[str, ...] = (), acts: int = 0, fast: bool = False
    ) -> Callable[[Change], Change]:
        """Register a function as a fault.

        Args:
            expected: codes of rules that name the fault.
            at: prefixes of its sites.
            acts: first optimizer step at which it can have an effect.
            fast: whether it belongs to the fast subset.
        """
        return lambda change: self._add(change, expected, at, acts, fast)

    def healthy(self, *, fast: bool = False) -> Callable[[Change], Change]:
        """Register a function as a healthy variant."""
        return lambda change: self._add(change, (), (), 0, fast)

    def _add(self, change: Change, expected: tuple[str, ...], at: tuple[str, ...], acts: int, fast: bool) -> Change:
        name = getattr(change, "__name__", "").replace("_", "-")
        summary = inspect.cleandoc(change.__doc__ or "").split("\n")[0]
        self.all.append(Case(name, summary, expected, at, acts, fast, change))
        return change
