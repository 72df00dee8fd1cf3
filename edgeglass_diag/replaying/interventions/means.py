"""How an intervention is made, and the registry of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from edgeglass_diag.intervention import KINDS, Intervention
from edgeglass_diag.records import SourceLine
from edgeglass_diag.site_paths import first_call, parent


class Training(ABC):
    """What interventions know of the training in whose process they are."""

    @abstractmethod
    def parameters(self, site: str = "") -> Iterable[tuple[str, Tensor]]:
        """Return the named parameters of all models that ran: all, or those whose path is ``site`` or begins with it.

        A parameter that lies at several places is there once.
        """

    @abstractmethod
    def module(self, site: str) -> nn.Module | None:
        """Return the module at a path; None where none has run there."""

    @abstractmethod
    def before_first_pass(self, call: Callable[[nn.Module], None]) -> None:
        """Call with each model before its first forward pass with gradients, when its initial values are there.

        A model that gets parts later is given again as the first of them runs.
        """

    @property
    @abstractmethod
    def optimizers(self) -> Sequence[Optimizer]:
        """The optimizers that are alive, in the order in which they were made."""

    @abstractmethod
    def line_of(self, made: object) -> SourceLine | None:
        """Return the line of the program that made an optimizer or a scheduler; None where that is not known."""

    @abstractmethod
    def line_of_schedule(self, optimizer: Optimizer) -> SourceLine | None:
        """Return the line of the program that made the first scheduler of an optimizer; None where there is none."""


@dataclass
class Means(ABC):
    """An intervention in the process of a training.

    Attributes:
        wanted: what is to be changed.
        training: what is known of the training.
        applied: how often it was made; a replay in which it never was says nothing about it.
        place: line of the program where what it changes is set; None where that is not known.
    """

    name: ClassVar[str]
    """Name in a plan, one of ``intervention.KINDS``."""
    asks_models: ClassVar[bool] = True
    """Whether it asks the training for its models, which are then looked for from the start."""

    wanted: Intervention
    training: Training
    applied: int = field(default=0, init=False)
    place: SourceLine | None = field(default=None, init=False)

    @property
    def number(self) -> float:
        """The value of an intervention that takes a number."""
        assert isinstance(self.wanted.value, int | float), self.wanted
        return self.wanted.value

    @abstractmethod
    def attach(self) -> None:
        """Put it in place; called once, when torch has been imported and before the program uses it."""


def module_of(training: Training, site: str) -> nn.Module | None:
    """Return the module at a site, or the one that computes what is there: of ``text.attention#1`` that at ``text``."""
    path = first_call(site)
    return training.module(path) or training.module(parent(path))


_REGISTRY: dict[str, type[Means]] = {}


def register(means: type[Means]) -> type[Means]:
    """Enter an intervention under its name."""
    assert means.name in KINDS, means.name
    assert means.name not in _REGISTRY, means.name
    _REGISTRY[means.name] = means
    return means


def registered() -> frozenset[str]:
    """Return the names of all interventions that were entered."""
    return frozenset(_REGISTRY)


def means_of(wanted: Intervention) -> type[Means]:
    """Return how an intervention is made.

    Raises:
        KeyError: if there is none of this name.
    """
    return _REGISTRY[wanted.name]
