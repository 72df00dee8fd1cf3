"""Protocols of packages that provide recipes through the entry-point group ``edgeglass_diag.recipes``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgeglass_diag.extras import MissingExtraError
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
        """Load data and weights; return the number of optimizer steps."""

    def together(self, folder: Path) -> AbstractContextManager[Path]:
        """Start or meet the other processes that train it, give rank 0's ``folder``, and wait for them at the end."""

    def train(self, out: Path, log: Callable[[Mapping[str, float], int], None]) -> dict[str, Any]:
        """Train into the folder ``out`` and return the result; ``log`` is called with (metrics by name, step)."""


class Case(Protocol):
    """A training with a known fault, or a healthy one, on which detection is measured."""

    @property
    def name(self) -> str:
        """Its name, unique among the cases."""

    @property
    def summary(self) -> str:
        """What it changes."""

    @property
    def expected(self) -> tuple[str, ...]:
        """Codes of rules that name the fault; empty for a healthy training."""

    @property
    def places(self) -> tuple[str, ...]:
        """Prefixes of the sites of the fault; empty if it has no site of its own."""

    @property
    def acts(self) -> int:
        """The first optimizer step at which the fault can have an effect."""

    @property
    def fast(self) -> bool:
        """Whether it belongs to the fast subset."""

    def job(self, seed: int) -> Job:
        """Return the training with this seed."""


class View(Protocol):
    """One representation of one side on its way to the embedding; attribution compares its units."""

    @property
    def name(self) -> str:
        """Name of its units: ``pixels``, ``tokens``, ``latents``, ``words``."""

    @property
    def side(self) -> str:
        """``image`` or ``text``."""

    @property
    def inputs(self) -> Tensor:
        """Floats (N, ...), one row for each pair."""

    @property
    def extra(self) -> tuple[Tensor, ...]:
        """Further arguments of ``encode``, (N, ...) each."""

    @property
    def units(self) -> Tensor:
        """The unit of each entry: integers whose shape broadcasts to that of the inputs."""

    @property
    def baseline(self) -> Tensor | None:
        """Baseline of integrated gradients and ablation, (N, ...) or (1, ...); None for the mean of the inputs."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches that the last rows x columns units are; None if units have no position."""

    def encode(self, inputs: Tensor, *extra: Tensor) -> Tensor:
        """Return the embeddings (B, D) that the model compares, differentiable with respect to the inputs (B, ...)."""


class Views(Protocol):
    """Pairs, and the views of them that a model can be attributed through."""

    @property
    def pictures(self) -> Tensor:
        """Images (N, H, W, 3) of uint8, the background of heatmaps."""

    @property
    def captions(self) -> Sequence[str]:
        """Caption of each image."""

    @property
    def words(self) -> Sequence[Sequence[str]]:
        """Words of each caption: units 1, 2, ... of the view ``words``; unit 0 is begin, end and padding."""

    @property
    def views(self) -> Sequence[View]:
        """Views of the image side, from pixels to latents, then those of the text side."""


class Embedded(Protocol):
    """Embeddings of N images and M captions, of one width W."""

    @property
    def image(self) -> Tensor:
        """Image embeddings (N, W)."""

    @property
    def text(self) -> Tensor:
        """Text embeddings (M, W)."""

    @property
    def image_index(self) -> Tensor:
        """Row of each caption's image, (M,)."""

    @property
    def dims(self) -> Sequence[int]:
        """Prefix widths of the Matryoshka loss; empty without one."""


class Start(Protocol):
    """A training run before its first step, without its data: a small random batch has their shape."""

    @property
    def name(self) -> str:
        """Name of the run."""

    @property
    def seed(self) -> int:
        """Seed of the run's initial weights."""

    @property
    def note(self) -> str:
        """Description of the batch."""

    def build(self) -> tuple[nn.Module, Optimizer]:
        """Return model and optimizer as the run makes them; torch must be seeded with ``seed`` before."""

    def batch(self) -> tuple[Tensor, ...]:
        """Return the arguments of the model, whose output is a mapping with the key ``loss``."""


class Provider(Protocol):
    """A module that provides recipes. Its functions raise ValueError, with one line, for wrong input."""

    def names(self) -> list[str]:
        """Return the names of its recipes."""

    def plan(self, target: str, overrides: Iterable[str] = ()) -> list[Job]:
        """Return the jobs of a recipe, by name or YAML file."""

    def begin(self, target: str, overrides: Iterable[str] = ()) -> Sequence[Start]:
        """Return the initial states of the same jobs, without loading data or weights of towers."""

    def cases(self) -> Sequence[Case]:
        """Return trainings with known faults, and healthy ones, on which detection is measured."""

    def replay(self, settings: Mapping[str, Any], *, steps: int, seed: int) -> Job:
        """Return a job: the first ``steps`` optimizer steps of the run with these settings, with this seed."""

    def changes(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return changes that may cure a failing run, by name, each as ``section.key`` -> value."""

    def embed(
        self, path: Path, split: str = "test", *, data: Path | None = None, overrides: Iterable[str] = ()
    ) -> Embedded:
        """Return the embeddings of a split by the model of a run folder or checkpoint file.

        Args:
            path: run folder or checkpoint file.
            split: ``train``, ``val`` or ``test``.
            data: other data than those of the recipe.
            overrides: ``section.key=value`` settings of the data.
        """

    def views(self, path: Path, split: str = "test", count: int = 256) -> Views:
        """Return views of the first ``count`` pairs of a split through the model of a run folder or checkpoint file."""


def provider() -> Provider:
    """Return the installed provider of recipes.

    Raises:
        UsageError: if no installed package provides recipes, or the one that does cannot be imported.
    """
    installed = list(entry_points(group=GROUP))
    if not installed:
        raise UsageError(f"no recipes installed: expected an entry point in group {GROUP!r}, got none")
    try:
        return cast(Provider, installed[0].load())
    except MissingExtraError:
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        raise UsageError(f"the recipes of {installed[0].value} cannot be loaded: {words}") from error
