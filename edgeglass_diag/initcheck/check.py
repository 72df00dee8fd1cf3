"""Take a model to its first optimizer step, which is not taken, and judge what was observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from edgeglass_diag.initcheck.first_step import FirstStep, FirstStepReached
from edgeglass_diag.initcheck.inspect import NoOpOptimizer, call, scalar
from edgeglass_diag.initcheck.parameter_status import ParameterStatus
from edgeglass_diag.initcheck.report import CheckReport
from edgeglass_diag.initcheck.verdict import verdict
from edgeglass_diag.records import Reading, UsageError, Window
from edgeglass_diag.rules import Engine, Rule
from edgeglass_diag.rules.initial import IdenticalRows
from edgeglass_diag.signals.parameters import STANDING_GRADIENT, STANDING_OPTIMIZER

FORMS = "a model, (model, batch), or (model, optimizer, step)"


@dataclass(frozen=True)
class Subject:
    """A model to check, and how it is run.

    ``step`` does everything up to the optimizer's step; without it the model is called with ``batch``, if there is one.
    ``optimizers`` is None if none is known.
    """

    model: nn.Module
    batch: object = None
    step: Callable[[], object] | None = None
    optimizers: Sequence[Optimizer] | None = None

    @property
    def runs(self) -> bool:
        """Return whether there is a forward and a backward pass to observe."""
        return self.step is not None or self.batch is not None


def subject_of(made: Any, where: str) -> Subject:
    """Return the subject that a build function has returned in one of ``FORMS``.

    A batch is a tensor, a tuple of arguments or a mapping of keywords; it is never callable, a step is.

    Raises:
        UsageError: for anything else.
    """
    parts = made if isinstance(made, tuple) else (made,)
    if parts and isinstance(parts[0], nn.Module):
        match parts[1:]:
            case ():
                return Subject(parts[0])
            case (Tensor() | Mapping() | tuple() | list() as batch,):
                return Subject(parts[0], batch)
            case (Optimizer() as optimizer, step) if callable(step):
                return Subject(parts[0], step=step, optimizers=(optimizer,))
    got = f"({', '.join(type(part).__name__ for part in made)})" if isinstance(made, tuple) else type(made).__name__
    raise UsageError(f"{where}: expected it to return {FORMS}; got {got}")


def look(make: Callable[[], Subject], *, seed: int, where: str, probed: bool = False) -> tuple[FirstStep, Subject]:
    """Make a subject under observation and run it up to the optimizer's step, which is not taken.

    torch is seeded for it, and its generators are afterwards as before. Errors begin with ``where``.

    Raises:
        UsageError: if the model has no trainable parameters, or ``step`` returns without an optimizer step.
    """
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        with FirstStep(probed=probed) as first:
            subject = make()
            first.takes(subject.model, subject.optimizers)
            try:
                _to_the_step(subject)
            except FirstStepReached:
                return first, subject
            except UsageError as error:
                raise UsageError(f"{where}: {str(error).removeprefix('inspect_init: ')}") from None
    raise UsageError(f"{where}: expected step() to call the optimizer's step; it returned without")


def _to_the_step(subject: Subject) -> None:
    if subject.step is not None:
        subject.step()
        return
    trained = [p for p in subject.model.parameters() if p.requires_grad]
    if not trained:
        raise UsageError(f"expected a model with trainable parameters, {type(subject.model).__name__} has none")
    if subject.batch is not None:
        torch.autograd.backward(scalar(call(subject.model, subject.batch), None))
    NoOpOptimizer(trained).step()


def judged(
    name: str, first: FirstStep, rules: Sequence[Rule], *, sample: str, notes: Sequence[str] = ()
) -> CheckReport | None:
    """Return what was observed with the findings of the rules; None if nothing was observed."""
    inspection = first.inspection
    if inspection is None:
        return None
    engine = Engine(rules)
    engine.feed(_with_statuses(inspection.window, first.statuses))
    unprobed = [] if first.probes is None or not first.probes.skipped else [f"not probed: {first.probes.skipped}"]
    said = [*notes, *unprobed, *(f"rule {code} failed: {why}" for code, why in engine.failures.items())]
    report = CheckReport(name, inspection, first.statuses, tuple(engine.findings), sample, tuple(said))
    return replace(report, verdict=tuple(verdict(report, identical=engine.history.rule(IdenticalRows).share)))


def _with_statuses(window: Window, statuses: Mapping[str, ParameterStatus]) -> Window:
    added = [
        Reading(window.step, name, signal, (float(value),))
        for name, status in statuses.items()
        if status.trainable and status.optimizer is not None
        for signal, value in ((STANDING_OPTIMIZER, status.optimizer), (STANDING_GRADIENT, status.gradient or 0.0))
    ]
    return replace(window, readings=(*window.readings, *added))
