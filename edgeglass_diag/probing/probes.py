"""Probes of a program's first forward pass with gradients, on copies of the process; the program is unchanged."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import nn

from edgeglass_diag.probe_sites import ProbedChange, ProbeSite
from edgeglass_diag.probing.changes import CHANGES, Change, nothing, permuted, shared
from edgeglass_diag.probing.copies import Outcome, current_copy, outcome_in_copy
from edgeglass_diag.probing.inputs import InputKind
from edgeglass_diag.records import Reading
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.probes import PROBE_LOSS, PROBE_OUTPUT_CHANGE, PROBE_REFERENCE, PROBE_ROUNDING
from edgeglass_diag.sites import Coverage

MOST_INPUTS = 6
"""Inputs that are exchanged between samples, of a model that takes more."""


class Probes:
    """A context manager that tries each change on a copy, at the first call of a model that is to be trained.

    Attributes:
        sites: one per change, in the order in which they were tried.
        readings: of these sites, at step 0.
        skipped: why nothing could be tried, empty where it could.
    """

    def __init__(self) -> None:
        self.sites: list[ProbeSite] = []
        self.readings: list[Reading] = []
        self.skipped = "no model with trainable parameters was called with gradients"
        self._depth = 0
        self._done = False
        self._call: Callable[..., Any] = nn.Module.__call__

    def __enter__(self) -> Probes:
        call, own = self._call, self

        def probed(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return own._called(module, call, args, kwargs)

        nn.Module.__call__ = probed  # type: ignore[method-assign]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        copy = current_copy()
        if copy is not None:
            copy.end(failed="it ended without a backward pass" if error is None else f"{type(error).__name__}: {error}")
        nn.Module.__call__ = self._call  # type: ignore[method-assign]

    def _called(self, module: nn.Module, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._depth:
            return call(module, *args, **kwargs)
        self._depth += 1
        try:
            if not self._done and torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters()):
                self._done = True
                self._try_all()
            copy = current_copy()
            return call(module, *args, **kwargs) if copy is None else copy.call(module, call, args, kwargs)
        finally:
            self._depth -= 1

    def _try_all(self) -> None:
        self.skipped = _unable()
        if self.skipped:
            return
        plain = self._reference(evaluation=False)
        evaluated = plain if plain is None else self._reference(evaluation=True)
        if plain is None or evaluated is None:
            return
        for site, change in _changes(plain):
            if change is None:
                self.sites.append(site)
                continue
            evaluation = site.change.in_evaluation_mode
            outcome = outcome_in_copy(change, evaluation=evaluation)
            if outcome is None:
                return
            self._note(
                site, outcome, plain if site.change is ProbedChange.EVALUATION_MODE or not evaluation else evaluated
            )

    def _reference(self, *, evaluation: bool) -> Outcome | None:
        """Return what a copy with unchanged inputs sees; None in the copy, and where it comes to no loss."""
        outcome = outcome_in_copy(nothing, evaluation=evaluation)
        if outcome is not None and not math.isfinite(outcome.loss):
            self.skipped = outcome.failed or "the loss is not finite"
            return None
        return outcome

    def _note(self, site: ProbeSite, outcome: Outcome, reference: Outcome) -> None:
        if not outcome.changed or (outcome.failed and not outcome.rows):
            why = outcome.failed or "nothing to change"
            self.sites.append(replace(site, coverage=Coverage.NOT_PROBED, detail=why))
            return
        self.sites.append(site)
        self._read(site, PROBE_ROUNDING, max(outcome.rounding, reference.rounding))
        self._read(site, PROBE_REFERENCE, reference.loss)
        if not outcome.failed:
            self._read(site, PROBE_LOSS, outcome.loss)
        changes = list(_output_changes(outcome, reference))
        if changes:
            self._read(site, PROBE_OUTPUT_CHANGE, max(changes))

    def _read(self, site: ProbeSite, signal: Signal, value: float) -> None:
        self.readings.append(Reading(0, site.path, signal, (value,)))


def _unable() -> str:
    if not hasattr(os, "fork"):
        return "this system cannot copy a process (os.fork)"
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return "a process that uses CUDA cannot be copied: run the check with CUDA_VISIBLE_DEVICES= on the CPU"
    return ""


def _changes(plain: Outcome) -> Iterator[tuple[ProbeSite, Change | None]]:
    """Yield the changes that are tried with the sites that stand for them; None for one that is left out."""
    tried = 0
    for number, (kind, shape, dtype) in enumerate(plain.inputs):
        if kind not in (InputKind.VALUES, InputKind.TOKENS):
            continue
        tried += 1
        for change, exchange in ((ProbedChange.INPUT_PERMUTED, permuted), (ProbedChange.INPUT_SHARED, shared)):
            argument = f"input{number}"
            path = f"{argument} {change}"
            site = ProbeSite(path=path, change=change, argument=argument, shape=tuple(shape), dtype=dtype)
            if tried <= MOST_INPUTS:
                yield site, exchange(number)
            else:
                yield replace(site, coverage=Coverage.NOT_PROBED, detail=f"{MOST_INPUTS} others were"), None
    for change, make in CHANGES.items():
        if change is not ProbedChange.NONE:
            yield ProbeSite(path=change, change=change), make


def _output_changes(outcome: Outcome, reference: Outcome) -> Iterator[float]:
    """Yield |change| / |output| of the outputs that both have; those of another shape cannot be compared."""
    if len(outcome.rows) != len(reference.rows) and not outcome.failed:
        return
    for row, other in zip(outcome.rows, reference.rows, strict=False):
        size = math.hypot(*other)
        if len(row) == len(other) and size > 0:
            yield math.dist(row, other) / size
