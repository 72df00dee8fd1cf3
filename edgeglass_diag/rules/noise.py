"""EG2xx: noise that drowns what it is meant to regularise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series
from edgeglass_diag.rules.learning import MOVED, no_better_than_chance


@dataclass(frozen=True)
class DropoutTooHigh(Rule):
    """Dropout takes away more than it leaves, and the model does not learn.

    Why: what a dropout keeps is multiplied by 1 / (1 - p), so that noise with p / (1 - p) times the energy of the
    signal is added: as much as the signal itself at p = 0.5, nine times as much at 0.9 (a keep rate of 0.9 given for a
    drop rate), and again at each further dropout on the way.

    Formula: p / (1 - p) > ``noise`` in training in every recorded window over at least ``steps`` steps and
    ``windows`` windows, during which the loss is no more than ``learned`` (relative) better than chance and the weights
    have moved by a fifth.
    """

    noise: float = 1.0
    learned: float = 0.1
    steps: float = 40
    windows: float = 5

    code = "EG216"
    name = "dropout-too-high"
    severity = Severity.WARNING
    source = (
        "derived: Bernoulli(1 - p) / (1 - p) has a variance of p / (1 - p); Dropout, JMLR 15 (2014): 0.5 in hidden "
        "layers, 0.2 in inputs"
    )
    fix = "Lower p to 0.1 (torch's p is the share that is dropped, not the one that is kept)."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for all such dropouts."""
        stuck = no_better_than_chance(history, self.learned)
        if stuck is None or not stuck.lasting(steps=int(self.steps), windows=int(self.windows)):
            return
        loud = [site for site, series in history.of("dropout/p") if self._drowns(history, site, series)]
        if not loud or history.cumulated_update(stuck.since) < MOVED:
            return
        worst = max(loud, key=lambda site: history.series("dropout/p", site).last)
        share = history.series("dropout/p", worst).last
        more = f" and {len(loud) - 1} more" if len(loud) > 1 else ""
        yield self.finding(
            history,
            f"{worst or 'the model'}{more}: dropout of {share:.2g} adds "
            f"{share / max(1e-9, 1 - share):.1f} times the energy of the signal as noise, and the loss stays at chance",
            site=worst,
            evidence={"p": share, "sites": loud[:20], "since": stuck.since},
        )

    def _drowns(self, history: History, site: str, series: Series) -> bool:
        limit = self.noise / (1 + self.noise)
        state = history.streak(("EG216", limit, site), series, lambda _, p: p > limit + 1e-6)
        return state is not None and state.lasting(steps=int(self.steps), windows=int(self.windows))
