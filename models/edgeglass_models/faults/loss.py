"""Faults of the loss: labels, temperature, reduction, normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.training import Setup, clip_loss

cases = Cases()


def with_labels(labels: Tensor) -> Any:
    """A CLIP loss with given labels."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        logits = scale * image @ text.T
        return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2

    return loss


@cases.fault("EG405")
def double_softmax(setup: Setup) -> None:
    """The logits go through a softmax before the cross-entropy."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        logits = scale * image @ text.T
        labels = torch.arange(len(logits))
        return (cross_entropy(logits.softmax(-1), labels) + cross_entropy(logits.T.softmax(-1), labels)) / 2

    setup.loss = loss


@cases.fault("EG406", fast=True)
def labels_permuted(setup: Setup) -> None:
    """The labels are a fixed permutation."""
    setup.loss = with_labels(torch.randperm(setup.batch, generator=torch.Generator().manual_seed(5)))


@cases.fault("EG406")
def labels_all_zero(setup: Setup) -> None:
    """Every row's label is the first candidate."""
    setup.loss = with_labels(torch.zeros(setup.batch, dtype=torch.long))


@cases.fault("EG406")
def labels_shifted(setup: Setup) -> None:
    """The labels are off by one."""
    setup.loss = with_labels(torch.arange(setup.batch).roll(1))


@cases.fault("EG403")
def temperature_missing(setup: Setup) -> None:
    """Cosines are the logits."""
    setup.loss = lambda image, text, scale: clip_loss(image, text, torch.ones(()))


@cases.fault("EG403")
def temperature_multiplied(setup: Setup) -> None:
    """The cosines are multiplied by the temperature instead of divided."""
    setup.loss = lambda image, text, scale: clip_loss(image, text, torch.tensor(0.07))


@cases.fault("EG407", at=("image", "text", "left", "right"))
def temperature_unclamped(setup: Setup) -> None:
    """The scale starts high, has a rate of its own and no clamp."""

    def unclamp(model: Any) -> None:
        model.max_scale = 1e9
        model.log_scale.data.fill_(5.5)

    setup.alter.append(unclamp)


@cases.fault("EG408", "EG209", "EG403", acts=10)
def temperature_decayed(setup: Setup) -> None:
    """The scale falls from 14 to 1 while the data cannot be learned."""

    def fall(model: Any, step: int) -> None:
        model.log_scale.data.mul_(0.96)

    setup.each_step.append(fall)


@cases.fault("EG404")
def batch_of_one(setup: Setup) -> None:
    """A batch has a single pair."""
    setup.batch, setup.accumulate = 1, 4


@cases.fault("EG303")
def normalisation_missing(setup: Setup) -> None:
    """Embeddings are not normalised and multiplied by a scale nevertheless."""

    def remove(model: Any) -> None:
        model.normalize = lambda x: 4 * x

    setup.alter.append(remove)


@cases.fault("EG303")
def one_side_not_normalised(setup: Setup) -> None:
    """The image side is not normalised and large."""

    def remove(model: Any) -> None:
        model.image_proj = nn.Sequential(model.image_proj)
        whole = model.normalize
        sides = iter(())
        del sides

        def forward(images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            image, text = model.encode(images, tokens)
            return 10 * image, whole(text), model.scale()

        model.forward = forward

    setup.alter.append(remove)


@cases.fault("EG309", "EG307", "EG301")
def positive_only(setup: Setup) -> None:
    """Only the cosine of the pairs is maximised: everything falls into one point."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        return scale * (1 - (image @ text.T).diagonal().mean())

    setup.loss = loss


@cases.fault("EG412", "EG301", "EG401", "EG403")
def own_soft_targets(setup: Setup) -> None:
    """Targets are the model's own similarities, and collapse satisfies them."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        logits = image @ text.T
        targets = ((image @ image.T + text @ text.T) / 2).softmax(-1)
        return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets.T)) / 2

    setup.loss = loss


@cases.fault("EG411", "EG206")
def siglip_averaged(setup: Setup) -> None:
    """SigLIP's sum over all pairs is divided by their number."""

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        signs = 2 * torch.eye(len(image)) - 1
        return -logsigmoid(signs * (scale * image @ text.T - 4.0)).mean()

    setup.loss = loss


@cases.fault("EG410", "EG607")
def negated_logits(setup: Setup) -> None:
    """Distances are taken for similarities: pairs are pushed apart."""
    setup.loss = lambda image, text, scale: clip_loss(image, text, -scale)
