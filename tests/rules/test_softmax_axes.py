"""A softmax over the samples whose weights are summed over something else, beside those that are meant so."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.softmax_axes import SoftmaxOverSamples
from edgeglass_diag.sites import Coverage

RULES = (SoftmaxOverSamples,)
BATCH, TOKENS, WIDTH = 6, 5, 16


class Attention(nn.Module):
    """Attention of one head; ``mix`` gets scores (B, N, N) and values (B, N, D)."""

    def __init__(self, mix):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.mix = mix

    def forward(self, x):
        return self.mix(self.query(x) @ self.key(x).mT, self.value(x))


class Pooling(nn.Module):
    """Attention pooling; ``pool`` gets scores (B, N) and tokens (B, N, D)."""

    def __init__(self, pool):
        super().__init__()
        self.score, self.pool = nn.Linear(WIDTH, 1), pool

    def forward(self, x):
        return self.pool(self.score(x).squeeze(-1), x)


class Bag(nn.Module):
    """Pooling of a bag of instances, which lie where other models have samples."""

    def __init__(self, pool):
        super().__init__()
        self.score, self.value, self.pool = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, WIDTH), pool

    def forward(self, x):
        return self.pool(self.score(x), self.value(x))


def slots(scores, values):
    """Slot attention: slots compete for each token, and each slot takes the mean of what it won."""
    weights = scores.softmax(dim=1) + 1e-8
    return (weights / weights.sum(-1, keepdim=True)) @ values


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize(
    ("mix", "found"),
    [
        (lambda scores, values: F.softmax(scores) @ values, True),
        (lambda scores, values: torch.bmm(F.dropout(scores.softmax(0), 0.1), values), True),
        (lambda scores, values: torch.einsum("bnm,bmd->bnd", torch.softmax(scores, 0), values), True),
        (lambda scores, values: values.mT @ nn.Softmax(dim=0)(scores).transpose(1, 2), True),
        (lambda scores, values: F.softmax(scores, -1) @ values, False),
        (lambda scores, values: torch.einsum("bnm,bmd->bnd", scores.softmax(2), values), False),
        (lambda scores, values: scores.softmax(1).mT @ values, False),
        (slots, False),
        (lambda scores, values: F.scaled_dot_product_attention(values, values, values), False),
    ],
)
def test_attention(tmp_path, mix, found):
    assert bool(trained(tmp_path / "run", Attention(mix), torch.randn(BATCH, TOKENS, WIDTH))) is found


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize(
    ("pool", "found"),
    [
        (lambda scores, x: (scores.softmax(0).unsqueeze(-1) * x).sum(1), True),
        (lambda scores, x: (x * F.softmax(scores[..., None])).sum(dim=1), True),
        (lambda scores, x: torch.bmm(scores.softmax(dim=0).unsqueeze(1), x).squeeze(1), True),
        (lambda scores, x: (scores.softmax(1).unsqueeze(-1) * x).sum(1), False),
        (lambda scores, x: F.softmax(scores) @ x.mean(0), False),
    ],
)
def test_pooling(tmp_path, pool, found):
    assert bool(trained(tmp_path / "run", Pooling(pool), torch.randn(BATCH, TOKENS, WIDTH))) is found


@pytest.mark.parametrize(
    "pool",
    [
        lambda scores, x: (scores.softmax(0) * x).sum(0),
        lambda scores, x: ((scores.softmax(0) * x) @ torch.ones(WIDTH, 3)).sum(0),
        lambda scores, x: (scores.softmax(0).sum(1, keepdim=True) * x).sum(0),
        lambda scores, x: (scores.detach().softmax(0) * (x - scores).square()).sum(-1).sum(),
        lambda scores, x: x @ torch.randn(BATCH, WIDTH).softmax(0).T,
        lambda scores, x: torch.einsum("bi,oi->bo", x, torch.randn(BATCH, WIDTH).softmax(0)),
        lambda scores, x: (x.softmax(-1) @ x.softmax(0).T) @ x,
        lambda scores, x: (x.softmax(0).sum(1) - 1).square(),
        lambda scores, x: scores.softmax(0).T @ x,
        lambda scores, x: torch.mm(torch.softmax(scores, 0).transpose(0, 1), x),
        lambda scores, x: torch.einsum("nk,nd->kd", scores.softmax(0), x),
    ],
)
def test_a_bag_is_pooled_over_its_instances(tmp_path, pool):
    assert not trained(tmp_path / "run", Bag(pool), torch.randn(BATCH, WIDTH))


def classified(out):
    return F.nll_loss(F.log_softmax(out, dim=0), torch.arange(BATCH))


def self_classified(out):
    """Shares of each sample among those of its class, made into shares of the classes by a division."""
    shares = out.softmax(0)
    return -((shares / shares.sum(1, keepdim=True)).detach() * out.log_softmax(1)).sum(1).mean()


def captioned(out):
    """Images are told apart for each of several captions that they have."""
    logits = F.normalize(out, dim=-1) @ F.normalize(torch.randn(4 * BATCH, 10), dim=-1).T
    return -(logits.log_softmax(0) * torch.eye(BATCH).repeat_interleave(4, 1)).sum(1).mean()


def contrast(out):
    logits = F.normalize(out, dim=-1) @ F.normalize(torch.randn_like(out), dim=-1).T
    both = F.log_softmax(logits, 0).T, F.log_softmax(logits, 1)
    return sum(F.nll_loss(each, torch.arange(BATCH)) for each in both) - (logits.softmax(0) * logits).sum(1).mean()


def over_time(scores, x):
    """Attention over the steps of sequences whose first dimension is time, each with a weight for each step."""
    weights = scores.softmax(0)
    entropy = -(weights * scores.log_softmax(0)).sum(1).mean()
    heads = (weights[..., None] * x).sum(-1).sum(0)
    return entropy + heads.square().mean() + torch.bmm(weights.T[:, None], x.transpose(0, 1)).mean()


@pytest.mark.parametrize("lengths", [(BATCH, TOKENS), (TOKENS, BATCH)])
def test_time_may_come_first(tmp_path, lengths):
    assert not trained(tmp_path / "run", Pooling(over_time), torch.randn(*lengths, WIDTH))


def test_heads_that_are_folded_into_samples_are_samples_where_no_dimension_is_named(tmp_path):
    def mix(scores, values):
        both, twice = (each.repeat(2, 1, 1) for each in (scores, values))
        return torch.bmm(F.softmax(both), twice)

    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert trained(tmp_path / "run", Attention(mix), torch.randn(BATCH, TOKENS, WIDTH))


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (classified, True),
        (self_classified, False),
        (captioned, False),
        (contrast, False),
        (lambda out: F.nll_loss(F.log_softmax(out, dim=1), torch.arange(BATCH)), False),
        (lambda out: (F.softmax(out.mean(1, keepdim=True), 0) * out.square()).sum(), False),  # samples are weighed
    ],
)
def test_losses(tmp_path, loss, found):
    assert bool(trained(tmp_path / "run", nn.Linear(WIDTH, 10), torch.randn(BATCH, WIDTH), loss)) is found


def trained(folder, model, x, loss=lambda out: out.square().mean()):
    """Return what is found of a model that trains for three steps."""
    with eg.watch(model, out=folder, rules=[rule() for rule in RULES]):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(x)).backward()
            optimizer.step()
    with eg.load(folder) as run:
        assert not [site for site in run.sites if site.coverage is Coverage.RECORDER_FAILED]
        assert {finding.code for finding in run.findings} <= {"EG109"}
        return run.findings
