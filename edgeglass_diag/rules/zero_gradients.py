"""EG007: weights whose gradient is exactly zero."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed, places
from edgeglass_diag.rules.training_state import matrices
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.activations import ACTIVATION_ZEROS, PRECISION_FLOAT16
from edgeglass_diag.signals.losses import LOSS_WEIGHT
from edgeglass_diag.signals.parameters import GRADIENT_NORM, WEIGHT_NORM
from edgeglass_diag.site_paths import parent


@dataclass(frozen=True)
class ZeroGradient(Rule):
    """The gradient of a weight matrix is exactly zero, always.

    Why: two layers in a row that start at zero, a dead activation, a factor of zero, or an underflow: the matrix
    never moves. A single zero-initialised gate gets its own gradient at once and opens the way for the others.

    Formula: |gradient| = 0 in every recorded window so far, over at least ``steps`` steps and ``windows`` windows, of a
    weight with two or more dimensions above one, while others get gradients. A fact (info) while a loss has had the
    weight 0 all the time: a term that is faded in later trains its head later. A fact too where nothing shows that the
    path is dead: such a module's output is cut away, as by a slice, and takes no part in the loss. What shows it is a
    weight of zeros among them, another parameter of the same module that has a gradient (so that its input is zero), a
    module all of whose outputs are zero, or float16.
    """

    steps: int = 10
    windows: int = 5

    code = "EG007"
    name = "zero-gradient"
    title = "Gradient is always zero"
    severity = Severity.WARNING
    page = "coverage"
    signals = (GRADIENT_NORM, LOSS_WEIGHT)
    source = "derived: the product rule at 0 x 0; LAVT-RIS #25. Exactly zero is no rounding of a gradient in float32"
    fix = "Let only the last layer of a branch start at zero; look for dead units and for factors of zero."
    cures = (Intervention("autocast.off"),)
    faulty = "nn.init.zeros_(mlp[0].weight); nn.init.zeros_(mlp[2].weight)"
    healthy = "nn.init.zeros_(mlp[2].weight)"
    brought_by = ("EG806", "EG802", "EG103", "EG002")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        zero = [site for site in matrices(history) if self._always(history, site)]
        if not zero or not any(series.last > 0 for site, series in history.of(GRADIENT_NORM) if site):
            return
        weights = [series.values for _, series in history.of(LOSS_WEIGHT)]
        waiting = any(not any(values) for values in weights) and any(any(values) for values in weights)
        dead = not waiting and self._is_dead(history, zero)
        for place, names in places(zero):
            yield self.finding(
                history,
                f"that of {listed(names)} has been exactly 0 since the beginning"
                + (", as has the weight of a loss" if waiting else "")
                + ("" if waiting or dead else "; nothing of their output reaches the loss"),
                site=place,
                severity=Severity.WARNING if dead else Severity.INFO,
                evidence={"parameters": names},
            )

    def _always(self, history: History, site: str) -> bool:
        series = history.series(GRADIENT_NORM, site)
        if not len(series) or series.last != 0:
            return False
        state = series.streak(lambda _, value: value == 0)
        return (
            state is not None and state.windows == len(series)
            and state.lasting(steps=self.steps, windows=self.windows)
        )  # fmt: skip

    def _is_dead(self, history: History, zero: list[str]) -> bool:
        """Return whether something shows that signal or gradient dies, and not that an output is left out."""
        if len(history.series(PRECISION_FLOAT16)) or any(_last(history, WEIGHT_NORM, site) == 0 for site in zero):
            return True
        if any(series.last == 1 for _, series in history.of(ACTIVATION_ZEROS)):
            return True
        modules = {parent(site) for site in zero}
        return any(series.last > 0 for site, series in history.of(GRADIENT_NORM) if site and parent(site) in modules)


def _last(history: History, signal: Signal, site: str) -> float:
    series = history.series(signal, site)
    return series.last if len(series) else math.nan
