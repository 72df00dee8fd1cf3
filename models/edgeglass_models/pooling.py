"""Attention pooling: one learned query turns a sequence of tokens into one vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """Mean of the tokens with weights softmax(norm(x) . query / sqrt(width)), as in the report's baseline.

    Args:
        width: token width D.

    Shapes:
        (B, L, D) -> (B, D)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(width), std=0.02))

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool (B, L, D) into (B, D)."""
        normed = self.norm(tokens)
        scores = normed @ self.query / math.sqrt(normed.shape[-1])
        weights = scores.softmax(dim=-1)
        pooled: Tensor = (weights.unsqueeze(1) @ normed).squeeze(1)
        return pooled
