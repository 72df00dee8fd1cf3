"""The processes of one run beside each other: each as a line of its own, many of them as their spread."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from edgeglass_dashboards.kept import state_of_run
from edgeglass_diag.signals import Signal
from edgeglass_diag.store import Run


@dataclass(frozen=True)
class RankSpread:
    """Many processes of one run, as the spread of what they measured.

    Attributes:
        ranks: the records, by rank.
    """

    ranks: Mapping[int, Run]

    @property
    def signals(self) -> list[Signal]:
        """What any of them has recorded."""
        return list(dict.fromkeys(signal for run in self.ranks.values() for signal in run.signals))

    @property
    def windows(self) -> int:
        """Recorded windows of all of them."""
        return sum(run.windows for run in self.ranks.values())

    @property
    def state(self) -> Hashable:
        """What changes when one of the records does."""
        return tuple(state_of_run(run) for run in self.ranks.values())

    def sites_of(self, signal: Signal) -> list[str]:
        """Return the sites of a signal over all of them, in order of execution."""
        sites = [site for run in self.ranks.values() if signal in run.signals for site in run.sites_of(signal)]
        return list(dict.fromkeys(sites))
