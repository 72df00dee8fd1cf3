"""Changes of the values that parameters have before the first step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.replaying.interventions.means import Means, register


@dataclass
class InitialValues(Means):
    """Other values of one parameter, before the first pass of its model with gradients.

    What is drawn is drawn by a generator of its own, whose seed comes from torch's numbers as they stand then.
    """

    _met: Facts[Tensor, bool] = field(default_factory=Facts)

    def attach(self) -> None:
        """Wait for the models."""
        self.training.before_first_pass(lambda _: self._begin())

    @abstractmethod
    def change(self, parameter: Tensor, generator: torch.Generator) -> bool:
        """Change the values of a parameter; return whether there was anything to change."""

    def _begin(self) -> None:
        for name, parameter in self.training.parameters(self.wanted.site):
            if name != self.wanted.site or parameter in self._met or is_lazy(parameter):
                continue
            if not parameter.is_floating_point():
                continue
            self._met.set(parameter, True)
            generator = torch.Generator(device=parameter.device)
            generator.manual_seed(int(torch.randint(2**62, ())) ^ crc32(name.encode()))
            self.applied += self.change(parameter, generator)


@register
@dataclass
class DrawnWithStd(InitialValues):
    """Drawn from a normal distribution with mean 0 and the value as its standard deviation."""

    name = "initial.std"

    def change(self, parameter: Tensor, generator: torch.Generator) -> bool:
        """Draw it."""
        nn.init.normal_(parameter, std=self.number, generator=generator)
        return True


@register
@dataclass
class Orthogonal(InitialValues):
    """An orthogonal matrix: rows, or columns where there are fewer, have length 1 and are orthogonal to each other.

    Dimensions of size 1 before the others are left out; those behind the first that is left are one.
    """

    name = "initial.orthogonal"

    def change(self, parameter: Tensor, generator: torch.Generator) -> bool:
        """Draw it, unless it is no matrix."""
        matrix = parameter
        while matrix.dim() > 1 and matrix.shape[0] == 1:
            matrix = matrix[0]
        if matrix.dim() < 2:
            return False
        nn.init.orthogonal_(matrix, generator=generator)
        return True


@register
@dataclass
class DrawnRows(InitialValues):
    """Every entry drawn for itself, with mean 0 and the value as standard deviation: rows that were alike differ then.

    Without a value it is the root mean square that the parameter has. One that is 0 everywhere keeps its values.
    """

    name = "initial.rows"

    def change(self, parameter: Tensor, generator: torch.Generator) -> bool:
        """Draw it, unless it has no rows."""
        std = float(parameter.float().square().mean().sqrt()) if self.wanted.value is None else self.number
        if std == 0 or sum(size > 1 for size in parameter.shape) < 2:
            return False
        nn.init.normal_(parameter, std=std, generator=generator)
        return True


@register
@dataclass
class SetTo(InitialValues):
    """A parameter of one number, as a logit scale, that is the value; others are left alone."""

    name = "initial.value"

    def change(self, parameter: Tensor, generator: torch.Generator) -> bool:
        """Set it."""
        if parameter.numel() != 1:
            return False
        parameter.fill_(self.number)
        return True
