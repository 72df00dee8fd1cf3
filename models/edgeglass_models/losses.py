"""CLIP loss and its Matryoshka form.

Source: Learning Transferable Visual Models From Natural Language Supervision, https://arxiv.org/abs/2103.00020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def clip_loss(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """Return the symmetric cross-entropy over in-batch pairs, in nats: (CE(s I T', i) + CE(s T I', i)) / 2.

    Args:
        image: unit-norm image embeddings, (B, D).
        text: unit-norm text embeddings, (B, D).
        scale: logit scale s = 1 / temperature.
    """
    logits = scale * image @ text.T
    labels = torch.arange(len(image), device=image.device)
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
