"""A small model to guard: eight learned queries read a sequence of tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Reader(nn.Module):
    """(B, L, width) -> (B, 16)."""

    def __init__(self, width: int = 64, queries: int = 8) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width))
        nn.init.trunc_normal_(self.queries, std=0.02)
        self.norm = nn.LayerNorm(width)  # without it the queries are too small to matter: try it
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.head = nn.Linear(width, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        queries = self.norm(self.queries).expand(len(tokens), -1, -1)
        read, _ = self.attention(queries, tokens, tokens, need_weights=False)
        embedding: Tensor = self.head(read).mean(1)
        return embedding
