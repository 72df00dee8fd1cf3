"""What a rule across ranks is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.ranks_history import ByRank, RankHistory, odd_ranks
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.signals.ranks import GRADIENTS_AVERAGED, GRADIENTS_JOINED, WEIGHT_DIGEST
from edgeglass_diag.signals.signal import Signal


@dataclass(frozen=True)
class RankRule(Rule):
    """A rule that compares what several ranks have recorded.

    Attributes:
        read: signals that are read whole.
        read_of_all: signals of which the reading without site is read.
    """

    stages = (Stage.RANKS,)
    read: ClassVar[tuple[Signal, ...]] = ()
    read_of_all: ClassVar[tuple[Signal, ...]] = ()

    def compare(self, ranks: RankHistory) -> Iterable[Finding]:
        """Return the findings that the records of the ranks support now."""
        raise NotImplementedError

    def found(
        self,
        step: int,
        detail: str,
        *,
        ranks: Sequence[int],
        site: str = "",
        sites: Sequence[str] = (),
        severity: Severity | None = None,
        **evidence: object,
    ) -> Finding:
        """Return a finding of this rule.

        Args:
            step: from which on it is so.
            detail: which rank differs and by how much, in words; the title is put in front.
            ranks: those that differ.
            site: path of the first site.
            sites: paths of all sites.
            severity: that of the rule where None.
            evidence: what was measured.
        """
        message, facts = f"{self.title}: {detail}", {"ranks": list(ranks), **evidence}
        worst = severity or self.severity
        return Finding(
            self.code, self.name, worst, site, max(step, 0), message, facts, self.fix, sites=tuple(sites) or (site,),
            since=step,
        )  # fmt: skip


def lasting(steps: Mapping[int, ByRank], windows: int, *, tolerance: float = 0.0) -> tuple[int, list[int]] | None:
    """Return since when ranks differ in at least the last ``windows`` compared steps, and which; None if they agree.

    Args:
        steps: values by rank of each step, in order.
        windows: least number of steps.
        tolerance: relative difference up to which values are equal.
    """
    since, odd, count = -1, list[int](), 0
    for step, values in reversed(list(steps.items())):
        now = odd_ranks(values, tolerance=tolerance)
        if not now:
            break
        since, odd, count = step, now, count + 1
    return (since, odd) if count >= windows else None


def are_replicas(ranks: RankHistory) -> bool:
    """Return whether ranks are known to train one model together, and not parts of it, as in a pipeline.

    They are where DistributedDataParallel averages their gradients, where their weights were equal once, and where the
    norm of all gradients was the same number.
    """
    if any(value == 1 for values in ranks.at(GRADIENTS_AVERAGED).values() for value in values.values()):
        return True
    if any(not odd_ranks(values) for values in ranks.at(WEIGHT_DIGEST).values()):
        return True
    norms = ranks.at(GRADIENT_NORM).values()
    return any(min(values.values()) > 0 and not odd_ranks(values, tolerance=1e-6) for values in norms)


REPLICAS = (WEIGHT_DIGEST, GRADIENT_NORM, GRADIENTS_AVERAGED, GRADIENTS_JOINED)
"""What ``are_replicas`` and ``joins`` read without site."""
