"""Which ranks have taken other numbers of steps than the lowest one."""

from __future__ import annotations

from collections.abc import Mapping

from edgeglass_diag.rules.ranks_clock import Lag, lag
from edgeglass_diag.rules.ranks_history import RankHistory


def lags_of(ranks: RankHistory) -> dict[int, Lag]:
    """Return by how many steps each rank is behind the lowest one, of those whose steps have parted."""
    clocks = ranks.clocks
    first = clocks[min(clocks)] if clocks else {}
    found = {rank: lag(first, clocks[rank]) for rank in ranks.realigned}
    return {rank: state for rank, state in found.items() if state is not None}


def odd_by_steps(ranks: RankHistory, lags: Mapping[int, Lag]) -> tuple[list[int], dict[int, int]]:
    """Return the ranks that are not as most are, and how many steps fewer than those each of them has taken."""
    counts = {rank: lags[rank].steps if rank in lags else 0 for rank in ranks.ranks}
    usual = max(sorted(set(counts.values())), key=list(counts.values()).count)
    if list(counts.values()).count(usual) == 1:
        usual = min(counts.values())  # of two that which leaves out is named
    behind = {rank: count - usual for rank, count in counts.items() if count != usual}
    return sorted(behind), behind


def said_of_steps(behind: Mapping[int, int]) -> str:
    """Return in words how many steps fewer each rank has taken.

    >>> said_of_steps({1: 1, 3: -2})
    'rank 1 has taken 1 step fewer, rank 3 has taken 2 steps more'
    """
    return ", ".join(
        f"rank {rank} has taken {abs(n)} step{'' if abs(n) == 1 else 's'} {'fewer' if n > 0 else 'more'}"
        for rank, n in sorted(behind.items())
    )
