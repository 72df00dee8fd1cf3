"""A model around one attention, what the recorder makes of it, and the check against a float64 reference."""

import torch
from torch import nn

from edgeglass_diag.measures.attention import AttentionStatistics
from edgeglass_diag.record import Recorder
from tests.helpers.attention_reference import assert_matches

B, H, L, S, E = 3, 2, 5, 7, 4
TINY = torch.finfo(torch.float32).min


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


KEEP = normal(9, B, 1, 1, S) > -0.7
KEEP[..., 0] = True
PAIRS = normal(8, L, S) > 0


class Net(nn.Module):
    """A trainable gain before a function that is given, in a module named ``inner``."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.inner = inner or Calls(function)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, *inputs):
        return self.inner(*(self.gain * x for x in inputs))


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def window_of(model, *inputs, steps=1):
    windows = []
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        for _ in range(steps):
            model(*inputs).square().sum().backward()
            optimizer.step()
    return windows[-1]


def attention_in(window):
    """Statistics by site."""
    sites = {}
    for reading in window.readings:
        family, _, name = reading.signal.partition("/")
        if family == "attention":
            sites.setdefault(reading.site, {})[name] = torch.tensor(reading.values, dtype=torch.float64)
    return sites


def statuses(window):
    return {site.path: site.coverage for site in window.sites if site.kind == "attention"}


def check(window, expected, site="inner.attention", unknown=()):
    sites = attention_in(window)
    assert list(sites) == [site]
    assert statuses(window) == {site: "observed"}
    found = AttentionStatistics(*(sites[site].get(name) for name in AttentionStatistics._fields))
    assert_matches(found, expected, unknown=unknown)
    return sites[site]
