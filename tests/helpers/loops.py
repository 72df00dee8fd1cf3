"""Small models, their trainings, and what the recorder makes of them."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage


class Pair(nn.Module):
    """Two linear sides and an attention between."""

    def __init__(self, checkpointing=None, dropout=0.0):
        super().__init__()
        self.image, self.text, self.mix = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(8, 8)
        self.checkpointing, self.dropout = checkpointing, dropout

    def attend(self, x):
        q = F.dropout(self.mix(x), self.dropout)
        return F.scaled_dot_product_attention(q, x, x)

    def forward(self, images, texts):
        tokens = self.image(images).unflatten(0, (-1, 3))
        if self.checkpointing is None:
            mixed = self.attend(tokens)
        else:
            mixed = checkpoint(self.attend, tokens, use_reentrant=self.checkpointing)
        return F.normalize(mixed.mean(1), dim=-1), F.normalize(self.text(texts), dim=-1)


def batch(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3 * size, 6, generator=generator), torch.randn(size, 5, generator=generator)


def clip_loss(image, text, scale=10.0):
    logits = scale * image @ text.T
    labels = torch.arange(len(logits))
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))


def values(window):
    return {(r.site, r.signal): r.values for r in window.readings}


def record(loop, every=1):
    windows = []
    torch.manual_seed(0)
    with Recorder(lambda step: step % every == 0, lambda w: windows.append(w.resolve())):
        result = loop()
    failed = [s for w in windows for s in w.sites if s.coverage is Coverage.RECORDER_FAILED]
    assert failed == []
    return result, [values(w) for w in windows], windows


def plain(steps=2, *, model=None, loss_of=clip_loss, optimizer=torch.optim.SGD, scaler=None, closure=False):
    model = model or Pair()
    opt = optimizer(model.parameters(), lr=0.1)
    losses = []
    for step in range(steps):

        def compute(step=step):
            opt.zero_grad()
            loss = loss_of(*model(*batch(step)))
            (loss if scaler is None else scaler.scale(loss)).backward()
            losses.append(float(loss.detach()))
            return loss

        if closure:
            opt.step(compute)
            continue
        compute()
        if scaler is None:
            opt.step()
        else:
            scaler.step(opt)
            scaler.update()
    return model, losses


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(8, 6), nn.Linear(5, 6)

    def forward(self, x, t):
        return F.normalize(self.image(x), dim=-1), F.normalize(self.text(t), dim=-1)


def clip(image, text):
    return F.cross_entropy(10.0 * image @ text.T, torch.arange(len(image)))


def sides(size=8):
    return torch.randn(size, 8), torch.randn(size, 5)


def train(steps=1, before=lambda: None, model=None, loss_of=clip):
    model = model or Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        before()
        loss_of(*model(*sides())).backward()
        optimizer.step()
        optimizer.zero_grad()
