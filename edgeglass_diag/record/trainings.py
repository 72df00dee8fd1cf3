"""Which training an optimizer belongs to: one that holds other parameters than those before begins a new one."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from edgeglass_diag.record.facts import Facts


class Trainings:
    """When the training of each optimizer began.

    A teacher and then a student, or an encoder and then a probe on it, are two. An optimizer made anew for parameters
    that another has stepped, with or without further ones, goes on with that one's.
    """

    def __init__(self) -> None:
        self._optimizers: Facts[Optimizer, int] = Facts()
        self._parameters: Facts[Tensor, int] = Facts()

    def begun(self, optimizer: Optimizer, step: int) -> int:
        """Return the step at which the training of an optimizer began, which is this one where it is new.

        Args:
            optimizer: steps now.
            step: number of the window.
        """
        known = self._optimizers.get(optimizer)
        if known is not None:
            return known
        held = [parameter for group in optimizer.__dict__.get("param_groups", ()) for parameter in group["params"]]
        begun = min((first for p in held if (first := self._parameters.get(p)) is not None), default=step)
        for parameter in held:
            if parameter not in self._parameters:
                self._parameters.set(parameter, begun)
        self._optimizers.set(optimizer, begun)
        return begun
