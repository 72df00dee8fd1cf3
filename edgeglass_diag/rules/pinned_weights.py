"""EG229: weights that are set to one norm after each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.training_state import MOVED
from edgeglass_diag.signals.parameters import UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.sites import ParameterSite


@dataclass(frozen=True)
class WeightsPinned(Rule):
    """The weights are set to one norm after each step, and that is none that a layer works with.

    Why: with a norm of 1 for a whole matrix of 512 rows each layer makes its input sqrt(512) times smaller; behind a
    norm layer the output keeps its size, but each step turns the weights as much farther. Constraints are meant for
    each unit, that is, each row.

    Formula: from the second reading on the norms of at least half of the linear layers and convolutions, and of two,
    are constant within ``same`` (relative), although steps moved them by a fifth in all; and the median of their
    rms(w) sqrt(fan-in), which is 1 where each row has norm 1, is at most 1 / ``gain`` or at least ``gain``. A fact
    (info) once nearly all answers are right.
    """

    same: float = 1e-5
    gain: float = 3.0
    windows: int = 4

    code = "EG229"
    name = "weights-pinned"
    title = "Weights set to one norm after each step"
    severity = Severity.WARNING
    page = "gradients"
    signals = (WEIGHT_NORM, UPDATE_RATIO)
    source = (
        "derived: a step of r of a weight changes its norm by r^2 / 2 at least, unless something sets it back; EG013 "
        "for the gain; https://arxiv.org/abs/2410.01131 (nGPT) normalises each row or column"
    )
    fix = "Normalise each row (w / w.norm(dim=1, keepdim=True)), or drop what is written after optimizer.step()."
    hinders_learning = True
    faulty = "for w in weights: w.data /= w.data.norm()  # after each step"
    healthy = "for w in weights: w.data /= w.data.norm(dim=1, keepdim=True)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        layers = [
            (site, norms.values[1:])
            for site, norms in history.at(ParameterSite, WEIGHT_NORM)
            if site.is_linear and not site.is_sharded and site.optimizer is not None and len(norms) > self.windows
        ]
        pinned = {
            site.path: norms[-1] / math.sqrt(site.shape[0])
            for site, norms in layers
            if norms[-1] > 0 and max(norms) - min(norms) <= self.same * norms[-1] and self._moves(history, site.path)
        }
        if len(pinned) < 2 or 2 * len(pinned) < len(layers):
            return
        middle = median(pinned.values())
        if 1 / self.gain < middle < self.gain or history.cumulated_update(0) < MOVED:
            return
        yield self.finding(
            history,
            f"{listed(list(pinned), 'has', 'have')} the same norm in every recorded window although the optimizer "
            f"moves them; they multiply the size of what they are given by {middle:.2g} in the median",
            site=next(iter(pinned)),
            evidence={"weights": list(pinned)[:20], "median_gain": middle},
        )

    def _moves(self, history: History, path: str) -> bool:
        """Return whether steps were large enough to be seen in the norm."""
        ratios = history.series(UPDATE_RATIO, path)
        return len(ratios) > 0 and max(ratios.values) > math.sqrt(2 * self.same)
