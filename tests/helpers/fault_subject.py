"""What is trained while functions of the recorder fail: all kinds of losses, attention, and errors of its own."""

import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record.recursion import MAX_DEPTH


class UserError(Exception):
    """Raised by the training itself, and expected unchanged."""


class RaisesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise UserError("backward")


class Recursive(nn.Module):
    """Runs inside of itself, deeper than is followed."""

    def forward(self, x, depth=MAX_DEPTH + 2):
        return self(x, depth - 1) if depth else x.sum()


class Model(nn.Module):
    """Two sides; images attend by a fused function, an explicit and masked softmax, and a module of torch."""

    def __init__(self):
        super().__init__()
        self.image, self.text, self.query = nn.Linear(6, 8), nn.Embedding(20, 8), nn.Linear(8, 8)
        self.tower, self.mix = nn.Linear(6, 6).requires_grad_(False), nn.MultiheadAttention(8, 2)
        self.latents = nn.Parameter(torch.randn(2, 8))
        self.drop = nn.Dropout(0.1)

    def forward(self, images, texts, fails=False):
        tokens = self.drop(self.image(F.dropout(self.tower(images), 0.1)))
        if fails:
            raise UserError("forward")
        tokens = tokens + F.scaled_dot_product_attention(tokens, tokens, tokens)
        logits = (self.query(self.latents) @ tokens.mT).masked_fill(images[:, None, :, 0] > 1, -1e9)
        image = (logits.softmax(-1) @ tokens).mean(1)
        text = self.mix(*3 * [self.text(texts).transpose(0, 1)], need_weights=False)[0].mean(0)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


def loss_of(model, *batch):
    image, text = model(*batch)
    logits = 10.0 * image @ text.T
    return F.cross_entropy(logits, torch.arange(3)) - F.logsigmoid(logits).mean()


def written_out(image, text):
    """Return losses and recalls of an evaluation that are written by hand."""
    logits, own = 10.0 * image @ text.T, torch.arange(3)
    logs = -(F.one_hot(own).float() * logits.log_softmax(1)).sum(1) - logits.log_softmax(1).gather(1, own[:, None])
    sums = torch.logsumexp(logits, 1) - logits.diag() - logits.log_softmax(1)[own, own]
    recalls = (logits.topk(2).indices == own[:, None]).any(1), torch.from_numpy(logits.numpy()).argmax(1) == own
    return [value.float().mean().item() for value in (logs, sums, *recalls)]
