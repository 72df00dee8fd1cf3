"""What is no attention, and how much of a large one is looked at."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from tests.helpers.attending import B, E, H, L, Net, S, attention_in, normal, statuses, window_of
from tests.helpers.attention_reference import reference


def classifies(x):
    return x.softmax(-1).log()


def focuses(x):
    return x.softmax(-1) * (1 - x.softmax(-1)) * torch.ones_like(x)


def chooses_among_learned_rows(x):
    return x.softmax(-1) @ nn.Parameter(torch.ones(S, 2))


@pytest.mark.parametrize("write", [classifies, focuses, chooses_among_learned_rows])
def test_a_softmax_that_mixes_no_activations_is_no_attention(write):
    window = window_of(Net(write), normal(0, B, S))
    assert attention_in(window) == {}
    assert statuses(window) == {}


def test_a_classifier_before_an_attention_does_not_change_its_name():
    q = normal(0, B, H, L, E)
    window = window_of(Net(lambda q: q.softmax(-1).sum() + (q @ q.mT).softmax(-1) @ q), q)
    assert list(attention_in(window)) == ["inner.attention"]


def test_a_large_attention_is_sampled_and_says_how_well():
    q, k = normal(0, 32, 2, 150, 8) * torch.linspace(0.5, 3, 32).view(-1, 1, 1, 1), normal(1, 32, 2, 150, 8)
    for write in (
        lambda q, k: F.scaled_dot_product_attention(q, k, k),
        lambda q, k: (q @ k.mT / math.sqrt(8)).softmax(-1) @ k,
    ):
        found = attention_in(window_of(Net(write), q, k))["inner.attention"]
        weights = (q @ k.mT / math.sqrt(8)).double().softmax(-1)
        exact = torch.special.entr(weights).sum(-1).mean((0, 2)) / math.log(150)
        error = (found["entropy"] - exact).abs()
        assert (error > 0).all()
        assert (error < 4 * found["entropy_se"]).all()
        assert (found["entropy_se"] < 0.1).all()
    assert "entropy_se" not in attention_in(window_of(Net(write), q[:2], k[:2]))["inner.attention"]


def test_no_bound_on_the_logits_means_exact():
    q, k = normal(0, 16, 2, 40, E), normal(1, 16, 2, 30, E)
    for logits, exact in ((None, True), (2000, False)):
        windows = []
        with Recorder(lambda step: True, windows.append, attention_logits=logits):
            (q @ k.mT).softmax(-1) @ k
            F.scaled_dot_product_attention(q, k, k, scale=1.0)
        sites = attention_in(windows[0].resolve())
        assert [("entropy_se" not in found) for found in sites.values()] == [exact] * 2
        errors = [(found["entropy"] - reference(q, k, scale=1.0)["entropy"]).abs().max() for found in sites.values()]
        assert [float(error) < 1e-6 for error in errors] == [exact] * 2
