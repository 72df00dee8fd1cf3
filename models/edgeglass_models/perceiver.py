"""Perceiver resampler: a fixed number of learned latents attends to any number of tokens.

Source: Perceiver: General Perception with Iterative Attention, https://arxiv.org/abs/2103.03206, in the form
of the resampler of Flamingo, https://arxiv.org/abs/2204.14198.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

LatentInit = Literal["reported", "randn", "trunc_normal", "xavier", "orthogonal", "zeros", "identical"]
NormPlacement = Literal["pre", "pre_shared", "none"]


def _latents(count: int, width: int, init: LatentInit | float) -> nn.Parameter:
    latents = nn.Parameter(torch.empty(count, width))
    match init:
        case "reported":
            raise AssertionError("the resampler draws these itself")
        case "randn":
            nn.init.normal_(latents)
        case "trunc_normal":
            nn.init.trunc_normal_(latents, std=0.02)
        case "xavier":
            nn.init.xavier_uniform_(latents)
        case "orthogonal":
            nn.init.orthogonal_(latents)
        case "zeros":
            nn.init.zeros_(latents)
        case "identical":
            nn.init.ones_(latents)
        case float():
            nn.init.normal_(latents, std=init)
    return latents


class CrossAttention(nn.Module):
    """Multi-head attention of latents over tokens.

    Args:
        width: model width D, a multiple of ``heads``.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(width, width, bias=False)
        self.to_key = nn.Linear(width, width, bias=False)
        self.to_value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attend from queries (B, K, D) to tokens (B, L, D); return (B, K, D)."""
        mixed = scaled_dot_product_attention(
            self._split(self.to_query(queries)), self._split(self.to_key(tokens)), self._split(self.to_value(tokens))
        )
        merged: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return merged


class ResamplerLayer(nn.Module):
    """latents += attention(norm(latents), norm(tokens)); latents += mlp(norm(latents)).

    Args:
        width: model width D.
        heads: number of heads.
        norm: ``pre`` (a LayerNorm each), ``pre_shared`` (one LayerNorm for latents and tokens, as reported)
            or ``none``.
    """

    def __init__(self, width: int, heads: int, norm: NormPlacement) -> None:
        super().__init__()
        make = nn.Identity if norm == "none" else nn.LayerNorm
        self.norm_latents = make(width)
        self.norm_tokens = self.norm_latents if norm == "pre_shared" else make(width)
        self.attention = CrossAttention(width, heads)
        self.norm_mlp = make(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Refine (B, K, D) latents by (B, L, D) tokens."""
        latents = latents + self.attention(self.norm_latents(latents), self.norm_tokens(tokens))
        refined: Tensor = latents + self.mlp(self.norm_mlp(latents))
        return refined


class PerceiverResampler(nn.Module):
    """``latents`` learned queries refined by ``layers`` layers of cross-attention and MLP.

    Args:
        width: model width D, a multiple of ``heads``.
        latents: number K of latents.
        layers: depth.
        heads: heads per attention.
        init: initialisation of the latents; ``reported`` is that of the report, randn then normal_(std=0.02); a number
            is the standard deviation of a normal distribution.
        norm: placement of the LayerNorms, see ResamplerLayer.

    Shapes:
        (B, L, D) -> (B, K, D)

    Raises:
        ValueError: if ``width`` is not a multiple of ``heads``.
    """

    def __init__(
        self,
        width: int,
        *,
        latents: int = 64,
        layers: int = 4,
        heads: int = 8,
        init: LatentInit | float = "reported",
        norm: NormPlacement = "pre_shared",
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got width {width} and {heads} heads")
        if init == "reported":
            self.latents = nn.Parameter(torch.randn(latents, width))
            nn.init.normal_(self.latents, std=0.02)
        else:
            self.latents = _latents(latents, width, init)
        self.layers = nn.ModuleList(ResamplerLayer(width, heads, norm) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Resample (B, L, D) tokens into (B, K, D)."""
        latents = self.latents.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(latents, tokens)
        return latents
