"""Losses and attention in many of the forms in which they are written."""

import torch
from torch.nn import functional as F


def other_losses(model, *batch):
    """Return the sum of losses that are written in other ways, and of an attention over a batch of products."""
    image, text = model(*batch)
    answers, logits = torch.arange(3), torch.einsum("id,jd->ij", image, text)
    weights = torch.baddbmm(torch.zeros(1, 1, 3), image[None], text.T[None])
    weights = torch.where(weights > -1, weights, -torch.inf).softmax(-1)
    mixed = torch.einsum("blm,bmd->bld", weights, text[None]).transpose(1, 2).reshape(1, 3, 8)
    return (
        F.nll_loss(F.log_softmax(logits, -1), answers)
        + F.cross_entropy(logits, logits.detach().softmax(-1))
        + (torch.logsumexp(image @ text.T, 1) - logits.diagonal()).mean()
        + F.binary_cross_entropy_with_logits(logits, torch.eye(3))
        + (mixed @ mixed.mT).mean()
        - F.log_softmax(logits, -1).diagonal().mean()
        - (logits.softmax(-1) + logits.exp()).log().mean()
        - logits.softmax(-1).log().mean()
        + F.binary_cross_entropy_with_logits(image[:, 0], answers / 3)
        + F.kl_div(text.log_softmax(-1) * 2, image.detach().softmax(-1), reduction="sum")
        + F.mse_loss(torch.cat([image, text.detach()]), torch.zeros(6, 8))
        + F.nll_loss(text[:, :3], answers)
        + F.cosine_similarity(image, text).mean()
        + F.pairwise_distance(image, text).mean()
        + F.triplet_margin_loss(image, text, text.flip(0))
        + F.cross_entropy(F.linear(image, model.query.weight), answers)
        + (text.softmax(0).unsqueeze(-1).transpose(1, 2) * image[:, None]).sum(2).mean()
        + torch.einsum("nc,nc->n", text.softmax(0), image).mean()
        + F.cross_entropy(text.repeat(22, 1)[:, :2], torch.arange(66) % 2)
    )


def spelled_out(model, *batch):
    """Sigmoid losses of pairs, and cross-entropies of a teacher's assignments, as they are written by hand."""
    image, text = model(*batch)
    labels = 2 * torch.eye(3) - 1
    logits = 10.0 * image @ text.T
    probabilities = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    return (
        F.softplus(-labels * logits).mean()
        + torch.log1p(torch.exp(-labels * logits)).mean()
        - torch.log(torch.sigmoid(labels * logits)).mean()
        + F.binary_cross_entropy(probabilities, torch.eye(3))
        + F.cosine_embedding_loss(image, text, torch.ones(3))
        - (text.detach().softmax(-1) * image.log_softmax(-1)).sum(-1).mean()
        - torch.einsum(
            "vbk,wbk->b",
            torch.stack([text.detach().softmax(-1), image.detach().softmax(-1)]),
            torch.stack([image.log_softmax(-1), text.log_softmax(-1)]),
        ).mean()
        + F.cross_entropy(image, text.detach().softmax(-1))
    )
