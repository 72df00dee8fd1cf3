"""Small attentions of a window, whose statistics are made together at its end: alone each costs as many calls."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics
from edgeglass_diag.measures.sampling import Subset

_SMALL = 2**14
"""Entries of queries, keys and outputs together up to which an attention waits for others like it."""
_MOST = 256
"""Attentions that wait at once: 16 MiB at most."""


class SmallAttention(NamedTuple):
    """One attention without a mask: (B, H, L, E), (B, H, S, E) and (B, H, L, D), with the subset that is measured."""

    site: str
    query: Tensor
    key: Tensor
    outputs: Tensor
    is_causal: bool
    scale: float | None
    subset: Subset

    @property
    def is_small(self) -> bool:
        """Return whether it may wait: copies of it are kept."""
        alike = self.query.shape[:2] == self.key.shape[:2] == self.outputs.shape[:2]
        return alike and self.query.numel() + self.key.numel() + self.outputs.numel() <= _SMALL

    @property
    def kind(self) -> Hashable:
        """What attentions must have in common to be measured together."""
        tensors = ((t.shape, t.dtype, t.device) for t in (self.query, self.key, self.outputs))
        return (*tensors, self.is_causal, self.scale, self.subset)


class SmallAttentions:
    """Those of one window, by their kind."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[SmallAttention]] = {}
        self._number = 0

    @property
    def is_full(self) -> bool:
        """Return whether so many wait that they are to be measured now."""
        return self._number >= _MOST

    def add(self, attention: SmallAttention) -> None:
        """Keep copies until the end of the window, as what they were made of may be written to."""
        kept = attention._replace(
            query=attention.query.detach().clone(),
            key=attention.key.detach().clone(),
            outputs=attention.outputs.detach().clone(),
        )
        self._waiting.setdefault(kept.kind, []).append(kept)
        self._number += 1

    def take(self) -> Iterator[list[SmallAttention]]:
        """Yield the attentions of each kind, and forget them."""
        waiting, self._waiting, self._number = self._waiting, {}, 0
        yield from waiting.values()

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._number = 0


def joint_statistics(alike: Sequence[SmallAttention]) -> tuple[list[AttentionStatistics], Tensor]:
    """Return the statistics of attentions of one kind, which are made as those of the heads of a single one.

    Args:
        alike: M of them.

    Returns:
        Of each its statistics, (H,); and the outputs of all, (B, M H, L, D).
    """
    first = alike[0]
    query, key = torch.cat([one.query for one in alike], 1), torch.cat([one.key for one in alike], 1)
    found = attention_statistics(query, key, is_causal=first.is_causal, scale=first.scale, subset=first.subset)
    heads = first.query.shape[1]
    parts = {name: torch.split(value, heads) for name, value in found._asdict().items() if value is not None}
    each = [AttentionStatistics(**{name: part[place] for name, part in parts.items()}) for place in range(len(alike))]
    return each, torch.cat([one.outputs for one in alike], 1)
