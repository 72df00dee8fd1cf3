"""EG317: BatchNorm that keeps no statistics for evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.signals.modes import BATCHNORM_STILL


@dataclass(frozen=True)
class StatisticsNeverMove(Rule):
    """A BatchNorm normalises by the batch in training, and its momentum of 0 keeps its running statistics as they are.

    Why: ``momentum`` is the weight of the new batch in torch (that of the old average in other frameworks). With 0 the
    running mean and variance stay what they were, 0 and 1 in a new model, and evaluation normalises by them: it sees
    another model than the one that was trained.

    Formula: every pass in training mode has a momentum of 0, in every recorded window over at least ``steps`` steps and
    ``windows`` windows up to now. A second pass of a step alone, as sharpness-aware minimisation has, is silent. A fact
    (info) where such passes have ended and training goes on: what is trained then sees what evaluation will see.
    """

    steps: int = 10
    windows: int = 5

    code = "EG317"
    name = "statistics-never-move"
    title = "BatchNorm's running statistics never move"
    severity = Severity.WARNING
    page = "coverage"
    signals = (BATCHNORM_STILL,)
    source = "derived: torch.nn.BatchNorm2d: running = (1 - momentum) x running + momentum x batch"
    fix = (
        "Set the momentum of BatchNorm to 0.1, or to None for a plain average; a model that is trained already gets "
        "its statistics by torch.optim.swa_utils.update_bn."
    )
    faulty = "nn.BatchNorm2d(64, momentum=0.0)"
    healthy = "nn.BatchNorm2d(64, momentum=0.1)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all."""
        found = {}
        for site, series in history.of(BATCHNORM_STILL):
            state = series.streak(lambda _, value: value == 1)
            if state is not None and state.lasting(steps=self.steps, windows=self.windows):
                found[site] = state
        if not found:
            return
        newest = max(state.since + state.span for state in found.values())
        yield self.finding(
            history,
            f"{listed([*found], 'has', 'have')} a momentum of 0, and normalise by the batch in training alone",
            site=next(iter(found)),
            since=min(state.since for state in found.values()),
            severity=Severity.INFO if history.last_step >= newest + self.steps else None,
            evidence={"modules": list(found)[:20]},
        )
