"""Protocols of recipes, which other packages offer through the entry-point group ``edgeglass_diag.recipes``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

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
        """Prepare data and weights, and return the number of optimizer steps."""

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train into ``out``, call ``log`` with each mapping of metrics and its step, and return the result."""


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


class View(Protocol):
    """One representation of one side on its way to the embedding, whose units attribution weighs against each other."""

    @property
    def name(self) -> str:
        """What its units are, e.g. ``pixels``, ``tokens``, ``latents``, ``words``."""

    @property
    def side(self) -> str:
        """``image`` or ``text``."""

    @property
    def inputs(self) -> Tensor:
        """(N, ...) floats, one row for each pair."""

    @property
    def extra(self) -> tuple[Tensor, ...]:
        """Further arguments of ``encode``, (N, ...) each."""

    @property
    def units(self) -> Tensor:
        """The unit of each entry: integers whose shape broadcasts to that of the inputs."""

    @property
    def baseline(self) -> Tensor | None:
        """What stands for nothing, of the shape of inputs or one row; the mean of the inputs where None."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the picture that the last units are, None where they have no place in it."""

    def encode(self, inputs: Tensor, *extra: Tensor) -> Tensor:
        """Embeddings (B, D) as the model compares them; differentiable with respect to the inputs."""


class Views(Protocol):
    """Pairs, and the views of them that a model can be attributed through."""

    @property
    def pictures(self) -> Tensor:
        """(N, H, W, 3) of uint8, what to draw heatmaps on."""

    @property
    def captions(self) -> Sequence[str]:
        """The caption of each."""

    @property
    def words(self) -> Sequence[Sequence[str]]:
        """The words of each caption: units 1, 2, ... of the view ``words``, whose unit 0 is all else."""

    @property
    def views(self) -> Sequence[View]:
        """In order: those of the image side from pixels on, then those of the text side."""


class Embedded(Protocol):
    """Embeddings of N images and M captions, each of them of one width."""

    @property
    def image(self) -> Tensor:
        """(N, W)."""

    @property
    def text(self) -> Tensor:
        """(M, W)."""

    @property
    def image_index(self) -> Tensor:
        """The image of each caption, (M,)."""

    @property
    def dims(self) -> Sequence[int]:
        """The prefix widths it was trained for."""


class Start(Protocol):
    """A training run as it begins, without its data: a small batch is drawn in their shape."""

    @property
    def name(self) -> str:
        """Name of the run."""

    @property
    def seed(self) -> int:
        """Seed with which the run draws its weights."""

    @property
    def note(self) -> str:
        """What the batch is, in words."""

    def build(self) -> tuple[nn.Module, Optimizer]:
        """Model and optimizer, drawn as the run draws them once torch is seeded."""

    def batch(self) -> tuple[Tensor, ...]:
        """Arguments of the model, which returns a mapping with its ``loss``."""


class Provider(Protocol):
    """A module that offers recipes. Wrong input raises ValueError with one line."""

    def names(self) -> list[str]:
        """Names of its recipes."""

    def plan(self, target: str, overrides: Iterable[str] = ()) -> list[Job]:
        """The jobs of a recipe name or file."""

    def begin(self, target: str, overrides: Iterable[str] = ()) -> Sequence[Start]:
        """The same jobs as they begin; loads neither data nor weights of towers."""

    def cases(self) -> Sequence[Case]:
        """Faults and healthy variants on which detection is measured."""

    def replay(self, settings: Mapping[str, Any], *, steps: int, seed: int) -> Job:
        """The first ``steps`` steps of the run with these settings, from another seed."""

    def changes(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return single changes to try on a failing run: name -> settings as ``section.key`` -> value."""

    def embed(
        self, path: Path, split: str = "test", *, data: Path | None = None, overrides: Iterable[str] = ()
    ) -> Embedded:
        """Embeddings by a run or checkpoint of its own data, or of others, with settings of these changed."""

    def views(self, path: Path, split: str = "test", count: int = 256) -> Views:
        """The first ``count`` pairs of a split, as a run or checkpoint sees them on their way to the embeddings."""


def provider() -> Provider:
    """Return the installed provider of recipes.

    Raises:
        UsageError: if no package offers recipes.
    """
    offered = list(entry_points(group=GROUP))
    if not offered:
        raise UsageError(f"no recipes are installed (entry-point group {GROUP!r} is empty)")
    return cast(Provider, offered[0].load())
