"""Attention over scrambled heads is noted where it happens, and heads that are split well are not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder


class Attention(nn.Module):
    def __init__(self, split, join, explicit):
        super().__init__()
        self.qkv, self.split, self.join, self.explicit = nn.Linear(64, 192), split, join, explicit

    def forward(self, x):
        q, k, v = (self.split(part) for part in self.qkv(x).chunk(3, -1))
        if self.explicit:
            mixed = F.dropout(((q * 0.25) @ k.mT).softmax(-1), 0.1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return self.join(mixed)


def noted(model, x):
    windows = []
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(x).square().mean().backward()
        optimizer.step()
    return {(site.before, site.after) for w in windows for site in w.sites if site.kind == "reshape"}


def split(x):
    return x.reshape(len(x), -1, 4, 16).transpose(1, 2)


def join(x):
    return x.transpose(1, 2).reshape(len(x), -1, 64)


@pytest.mark.parametrize("explicit", [True, False])
def test_scrambled_heads_are_noted(explicit):
    x = torch.randn(6, 10, 64)
    assert noted(Attention(split, join, explicit), x) == set()
    assert noted(Attention(lambda t: t.reshape(6, 4, 10, 16), lambda t: t.flatten(1), explicit), x) == {
        ((6, 10, 64), (6, 4, 10, 16))
    }
    assert noted(Attention(split, lambda t: t.reshape(6, 10, 64), explicit), x) == {((6, 4, 10, 16), (6, 10, 64))}


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_batch_as_large_as_a_head_is_no_scramble(batch_first, weights):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.MultiheadAttention(64, 4, batch_first=batch_first)

        def forward(self, x):
            return self.attn(x, x, x, need_weights=weights)[0]

    assert noted(Block(), torch.randn(16, 16, 64)) == set()
    assert noted(Block(), torch.randn(16, 12, 64)) == set()
    assert noted(Block(), torch.randn(16, 4, 64)) == set()
    assert noted(Block(), torch.randn(4, 16, 64)) == set()


def test_what_is_not_attention_is_not_followed():
    """A normalisation over as many groups as the map is high."""

    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 32, 1)

        def forward(self, x):
            y = self.conv(x)
            y = y.reshape(len(y), 8, -1)
            return (y - y.mean(-1, keepdim=True)) / y.std(-1, keepdim=True)

    assert noted(Grouped(), torch.randn(2, 3, 8, 8)) == set()
