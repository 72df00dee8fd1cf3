"""What can be run: jobs offered by other packages through the entry-point group ``edgeglass_diag.recipes``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "edgeglass_diag.recipes"


class Job(Protocol):
    """One training run."""

    @property
    def name(self) -> str:
        """Name of the run."""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings as plain values."""

    def prepare(self) -> int:
        """Get data and weights ready; returns the number of optimizer steps."""

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train into ``out``, telling ``log`` each mapping of metrics with its step; returns the result."""


class Case(Protocol):
    """A training with a known fault, or a healthy one, on which detection is measured."""

    @property
    def name(self) -> str:
        """Its name, unique among the cases."""

    @property
    def summary(self) -> str:
        """What is changed."""

    @property
    def expected(self) -> tuple[str, ...]:
        """Codes that name the fault; none for a healthy one."""

    @property
    def places(self) -> tuple[str, ...]:
        """Beginnings of the sites where the fault sits; none where it has no place of its own."""

    @property
    def acts(self) -> int:
        """The step from which on it can act."""

    @property
    def fast(self) -> bool:
        """Whether it belongs to the fast subset."""

    def job(self, seed: int) -> Job:
        """The training."""


class Provider(Protocol):
    """A module that offers recipes. Wrong input raises ValueError with one line."""

    def names(self) -> list[str]:
        """Names of its recipes."""

    def plan(self, target: str, overrides: Iterable[str] = ()) -> list[Job]:
        """The jobs of a recipe name or file."""

    def cases(self) -> Sequence[Case]:
        """Faults and healthy variants on which detection is measured."""

    def embed(self, path: Path, split: str = "test") -> tuple[Tensor, Tensor, list[int]]:
        """Image and text embeddings of a run or checkpoint, and its MRL dims."""


def provider() -> Provider:
    """The installed provider of recipes.

    Raises:
        UsageError: when no package offers recipes.
    """
    offered = list(entry_points(group=GROUP))
    if not offered:
        raise UsageError(f"no recipes are installed (entry-point group {GROUP!r} is empty)")
    return cast(Provider, offered[0].load())
