"""A CLIP with about 100 000 parameters: two small transformers and a learned logit scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

from edgeglass_models.faults.scenes import EOS, LENGTH, PAD, SIZE, VOCABULARY

PATCH = 4
Norm = Callable[[int], nn.Module]


class Attention(nn.Module):
    """Multi-head self-attention. ``mask`` (B, L) is True for the keys that count."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.sharpness = 1.0

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention output (B, L, D)."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        scale = self.sharpness / math.sqrt(query.shape[-1])
        keys = None if mask is None else mask[:, None, None, :]
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=keys, scale=scale)
        merged: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return merged


class Block(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, width: int, heads: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = norm(width), norm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the block's output (B, L, D)."""
        x = x + self.attention(self.norm_attention(x), mask)
        refined: Tensor = x + self.mlp(self.norm_mlp(x))
        return refined


class Vision(nn.Module):
    """Patches, blocks, mean. (B, 3, 16, 16) -> (B, D)."""

    def __init__(self, width: int, depth: int, heads: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.position = nn.Parameter(torch.randn((SIZE // PATCH) ** 2, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, norm) for _ in range(depth))
        self.norm = norm(width)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, 16, 16) as (B, D)."""
        x = self.patches(images).flatten(2).mT + self.position
        for block in self.blocks:
            x = block(x)
        pooled: Tensor = self.norm(x.mean(dim=1))
        return pooled


class Text(nn.Module):
    """Token embeddings, blocks, pooling at the EOS token. (B, L) -> (B, D)."""

    def __init__(self, width: int, depth: int, heads: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        nn.init.normal_(self.words.weight, std=0.02)
        self.position = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, norm) for _ in range(depth))
        self.norm = norm(width)

    def mask(self, tokens: Tensor) -> Tensor:
        """Return which tokens are not padding, (B, L) of bool."""
        return tokens != PAD

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed texts (B, L) as (B, D)."""
        x = self.words(tokens) + self.position
        for block in self.blocks:
            x = block(x, self.mask(tokens))
        end = (tokens == EOS).int().argmax(dim=-1)
        pooled: Tensor = self.norm(x[torch.arange(len(x)), end])
        return pooled


class TinyDual(nn.Module):
    """Two towers, a projection each, a logit scale.

    Args:
        width: width of the towers, a multiple of ``heads``.
        depth: blocks of each tower.
        heads: heads of each attention.
        embed: width of the embedding.
        dropout: probability of the dropout after each MLP.
        norm: function from a width to a norm layer.
        temperature: initial temperature.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 2,
        heads: int = 4,
        embed: int = 32,
        dropout: float = 0.0,
        norm: Norm = nn.LayerNorm,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.visual = Vision(width, depth, heads, dropout, norm)
        self.textual = Text(width, depth, heads, dropout, norm)
        self.image_proj: nn.Module = nn.Linear(width, embed, bias=False)
        self.text_proj: nn.Module = nn.Linear(width, embed, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.max_scale = 100.0
        self.normalize: Callable[[Tensor], Tensor] = lambda x: normalize(x, dim=-1)

    def scale(self) -> Tensor:
        """Return the logit scale, at most ``max_scale``."""
        return self.log_scale.exp().clamp(max=self.max_scale)

    def encode(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of both sides before normalisation, (B, E) each."""
        return self.image_proj(self.visual(images)), self.text_proj(self.textual(tokens))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the unit embeddings of both sides, (B, E) each, and the logit scale."""
        image, text = self.encode(images, tokens)
        return self.normalize(image), self.normalize(text), self.scale()
