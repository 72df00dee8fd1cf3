"""The two alignment models: trainable heads over frozen CLIP features, one embedding space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeglass_models.losses import clip_loss, gathered, own_rows
from edgeglass_models.mrl import MatryoshkaHead
from edgeglass_models.perceiver import LatentInit, NormPlacement, PerceiverResampler
from edgeglass_models.pooling import AttentionPooling


class PooledImageHead(nn.Module):
    """Baseline: linear, then attention pooling. (B, L, Di) -> (B, W)."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_width, width)
        self.pool = AttentionPooling(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed (B, L, Di) token features as (B, W)."""
        pooled: Tensor = self.pool(self.project(tokens))
        return pooled


class ResampledImageHead(nn.Module):
    """Perceiver: linear, resampler, linear, mean over the latents. (B, L, Di) -> (B, W)."""

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        latent_width: int,
        latents: int,
        layers: int,
        heads: int,
        init: LatentInit | float,
        norm: NormPlacement,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(in_width, latent_width)
        self.resampler = PerceiverResampler(
            latent_width, latents=latents, layers=layers, heads=heads, init=init, norm=norm
        )
        self.out = nn.Linear(latent_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed (B, L, Di) token features as (B, W)."""
        latents: Tensor = self.out(self.resampler(self.project(tokens)))
        return latents.mean(dim=1)


class AlignmentModel(nn.Module):
    """Image head and text head with a shared Matryoshka head and the weighted CLIP + MRL loss.

    Args:
        image_head: (B, L, Di) -> (B, W).
        text_width: width Dt of the frozen text features.
        width: embedding width W.
        mrl_dims: prefix widths.
        temperature: initial temperature; the scale is 1 / temperature.
        learned_scale: whether the scale is trained (clamped at 100, as CLIP does).
        clip_weight: weight of the loss at full width.
        mrl_weight: weight of the mean loss over the prefixes.
    """

    def __init__(
        self,
        image_head: nn.Module,
        *,
        text_width: int,
        width: int,
        mrl_dims: Sequence[int],
        temperature: float = 0.07,
        learned_scale: bool = False,
        clip_weight: float = 0.25,
        mrl_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.image_head = image_head
        self.text_head = nn.Linear(text_width, width)
        self.head = MatryoshkaHead(width, mrl_dims)
        log_scale = torch.tensor(math.log(1 / temperature))
        self.log_scale: Tensor
        if learned_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)
        self.clip_weight = clip_weight
        self.mrl_weight = mrl_weight

    def embed(self, tokens: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings (B, W) of both sides, not normalised."""
        return self.image_head(tokens), self.text_head(text)

    def forward(
        self, tokens: Tensor, text: Tensor, mrl_dims: Sequence[int] | None = None, *, gather: bool = False
    ) -> dict[str, Tensor]:
        """Return the losses of a batch in nats: ``loss``, ``clip``, ``mrl``.

        Args:
            tokens: image token features, (B, L, Di).
            text: text features, (B, Dt).
            mrl_dims: prefix widths of this batch; None for all.
            gather: whether the batch is spread over processes: each takes the loss of its own pairs against the pairs
                of all, and their mean is the loss of the whole batch.
        """
        image, words = self.embed(tokens, text)
        rows = None
        if gather:
            rows = own_rows(image)
            image, words = gathered(image), gathered(words)
        scale = self.log_scale.exp().clamp(max=100.0)
        clip = clip_loss(self.head(image), self.head(words), scale, rows)
        dims = self.head.dims if mrl_dims is None else mrl_dims
        prefixes = [clip_loss(self.head(image, dim), self.head(words, dim), scale, rows) for dim in dims]
        mrl = torch.stack(prefixes).mean()
        return {"loss": self.clip_weight * clip + self.mrl_weight * mrl, "clip": clip, "mrl": mrl}
