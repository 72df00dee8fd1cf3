"""How an intervention is made, and the registry of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from edgeglass_diag.intervention import Intervention


class Training(ABC):
    """What interventions know of the training in whose process they are."""

    @abstractmethod
    def parameters(self, site: str = "") -> Iterable[tuple[str, Tensor]]:
        """Return the named parameters of all models that ran, or that of one name."""

    @abstractmethod
    def module(self, site: str) -> nn.Module | None:
        """Return the module at a path; None where none has run there."""

    @abstractmethod
    def before_first_pass(self, call: Callable[[nn.Module], None]) -> None:
        """Call with each model before its first forward pass with gradients, when its initial values are there."""


@dataclass
class Means(ABC):
    """An intervention in the process of a training.

    Attributes:
        wanted: what is to be changed.
        training: what is known of the training.
        applied: how often it was made; a replay in which it never was says nothing about it.
    """

    name: ClassVar[str]
    """Name in a plan."""
    summary: ClassVar[str]
    """What it does, as a sentence without its end: ``scale the learning rate of all groups``."""

    wanted: Intervention
    training: Training
    applied: int = 0

    @abstractmethod
    def attach(self) -> None:
        """Put it in place; called once, when torch has been imported and before the program uses it."""


_REGISTRY: dict[str, type[Means]] = {}


def register(means: type[Means]) -> type[Means]:
    """Enter an intervention under its name."""
    assert means.name not in _REGISTRY, means.name
    _REGISTRY[means.name] = means
    return means


def means_of(wanted: Intervention) -> type[Means]:
    """Return how an intervention is made.

    Raises:
        KeyError: if there is none of this name.
    """
    return _REGISTRY[wanted.name]
