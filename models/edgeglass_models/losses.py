"""CLIP loss and its Matryoshka form.

Source: Learning Transferable Visual Models From Natural Language Supervision, https://arxiv.org/abs/2103.00020.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.nn.functional import cross_entropy


def clip_loss(image: Tensor, text: Tensor, scale: Tensor | float, rows: slice | None = None) -> Tensor:
    """Return the symmetric cross-entropy over in-batch pairs, in nats: (CE(s I T', i) + CE(s T I', i)) / 2.

    Args:
        image: unit-norm image embeddings, (B, D).
        text: unit-norm text embeddings, (B, D).
        scale: logit scale s = 1 / temperature.
        rows: the pairs i whose mean is taken, each against all B; None for all. The mean over parts of equal size that
            make up the batch is the loss of the batch.
    """
    labels = torch.arange(len(image), device=image.device)
    if rows is None:
        logits = scale * image @ text.T
        return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    to_text, to_image = scale * image[rows] @ text.T, scale * text[rows] @ image.T
    return (cross_entropy(to_text, labels[rows]) + cross_entropy(to_image, labels[rows])) / 2


def gathered(side: Tensor) -> Tensor:
    """Return the rows (b, D) of all processes, in the order of their ranks, as (b x processes, D).

    The gradient of a process's rows is the sum of what the losses of all processes give them, so that the mean of the
    processes' gradients is that of one process with the whole batch. All must have the same number of rows.
    """
    whole: Tensor = _Gather.apply(side)  # type: ignore[no-untyped-call]
    return whole


class _Gather(torch.autograd.Function):
    """``torch.distributed.nn.functional.all_gather``, which torch 2.13 deprecates for a private one."""

    @staticmethod
    def forward(ctx: Any, side: Tensor) -> Tensor:
        """Concatenate the rows (b, D) of all ranks."""
        ctx.rows = own_rows(side)
        parts = [torch.empty_like(side) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, side.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Sum the gradients of all ranks; return those of the own rows."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total[ctx.rows]


def own_rows(side: Tensor) -> slice:
    """Return where the rows (b, D) of this process stand among the gathered ones."""
    first = torch.distributed.get_rank() * len(side)
    return slice(first, first + len(side))
