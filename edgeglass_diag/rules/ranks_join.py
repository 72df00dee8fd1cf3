"""What torch's Join does to ranks of which one has fewer batches than another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgeglass_diag.rules.ranks_history import RankHistory
from edgeglass_diag.rules.ranks_lags import lags_of, odd_by_steps, said_of_steps
from edgeglass_diag.signals.ranks import GRADIENTS_JOINED, STATE_HELD


@dataclass(frozen=True)
class BehindJoin:
    """Ranks that train on behind a Join with optimizers whose state lacks steps.

    Attributes:
        since: first step at which it is so.
        odd: the ranks that are not as most are.
        fewer: how many steps fewer each of them has taken.
    """

    since: int
    odd: list[int]
    fewer: Mapping[int, int]

    fix: ClassVar[str] = (
        "Give every rank as many batches (DistributedSampler, drop_last=True), put a ZeroRedundancyOptimizer into Join "
        "beside the model, or use an optimizer without state."
    )

    @property
    def words(self) -> str:
        """What is so, and what follows from it."""
        return (
            f"since step {self.since} {said_of_steps(self.fewer)}, as Join lets it, and the optimizer's state there "
            "lacks them: Join brings weights together at its end, and not that state"
        )


def joins(ranks: RankHistory) -> bool:
    """Return whether ranks train inside of torch's Join, where one whose data have ended takes no further steps."""
    return bool(ranks.alone(GRADIENTS_JOINED))


def behind_join(ranks: RankHistory) -> BehindJoin | None:
    """Return which ranks go on with state that lacks steps; None where none does, or nothing is kept."""
    keeps = any(any(values.values()) for values in ranks.alone(STATE_HELD).values())
    lags = lags_of(ranks) if keeps and joins(ranks) else {}
    if not lags:
        return None
    odd, fewer = odd_by_steps(ranks, lags)
    return BehindJoin(min(state.since for state in lags.values()), odd, fewer)
