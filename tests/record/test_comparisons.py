"""Embeddings are whatever the loss compares, however it is written."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeglass_diag.compared import Compared
from edgeglass_diag.record.recorder import Recorder
from edgeglass_diag.signals.embeddings import EMBEDDING_PULL
from edgeglass_diag.sites import Coverage, EmbeddingSite


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, first, second):
        return self.left(first), self.right(second)


class Gather(torch.autograd.Function):
    """Brings the embeddings of all ranks together, of which there is one."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Criterion(nn.Module):
    def forward(self, left, right):
        return (F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).T).exp().sum(1).log().mean()


def probabilities(values):
    return values.detach().softmax(-1)


def standardised(values):
    return (values - values.mean(0)) / values.std(0)


def queue(left):
    keys = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    return F.normalize(keys, dim=-1), F.normalize(left, dim=-1)


def moco(left, right):
    keys, query = queue(left)
    positive = torch.einsum("nc,nc->n", [query, right.detach()]).unsqueeze(-1)
    logits = torch.cat([positive, torch.einsum("nc,ck->nk", [query, keys.T.clone()])], dim=1)
    return F.cross_entropy(logits, torch.zeros(len(left), dtype=torch.long))


WAYS = {
    "cosine": (lambda a, b: -F.cosine_similarity(a, b.detach()).mean(), Compared.SIMILARITY),
    "all cosines": (lambda a, b: -F.cosine_similarity(a[:, None], b[None], dim=-1).mean(), Compared.SIMILARITY),
    "product and sum": (lambda a, b: (2 - 2 * (a * b).sum(dim=-1)).mean(), Compared.SIMILARITY),
    "negative product": (lambda a, b: torch.sum(-a * b, dim=-1).mean(), Compared.SIMILARITY),
    "einsum of pairs": (lambda a, b: -torch.einsum("nc,nc->n", a, b).mean(), Compared.SIMILARITY),
    "cosine embedding": (lambda a, b: F.cosine_embedding_loss(a, b, torch.ones(4)), Compared.SIMILARITY),
    "hand-written contrast": (lambda a, b: (a @ b.T).exp().sum(1).log().mean(), Compared.LOGITS),
    "a loss class": (Criterion(), Compared.LOGITS),
    "a margin of products": (lambda a, b: (a @ b.T).relu().mean(), Compared.SIMILARITY),
    "a queue": (moco, Compared.SIMILARITY),
    "mse": (F.mse_loss, Compared.DISTANCE),
    "smooth l1": (F.smooth_l1_loss, Compared.DISTANCE),
    "difference and square": (lambda a, b: ((a - b) ** 2).sum(1).add(1e-9).sqrt().mean(), Compared.DISTANCE),
    "norm of a difference": (lambda a, b: (a - b).norm(dim=1).mean(), Compared.DISTANCE),
    "pairwise distance": (lambda a, b: F.pairwise_distance(a, b).mean(), Compared.DISTANCE),
    "all distances": (lambda a, b: torch.cdist(a, b)[[0, 1], [1, 0]].mean(), Compared.DISTANCE),
    "triplet": (lambda a, b: F.triplet_margin_loss(a, b, b.roll(1, 0)), Compared.DISTANCE),
    "features": (lambda a, b: (standardised(a).T @ standardised(b) / 4 - torch.eye(8)).pow(2).sum(), Compared.FEATURES),
    "soft targets": (lambda a, b: F.cross_entropy(a, probabilities(b)), Compared.ASSIGNMENT),
    "divergence": (
        lambda a, b: F.kl_div(a.log_softmax(-1), probabilities(b), reduction="batchmean"), Compared.ASSIGNMENT,
    ),
    "hand-written soft targets": (
        lambda a, b: -(probabilities(b) * a.log_softmax(-1)).sum(-1).mean(), Compared.ASSIGNMENT,
    ),
    "products as logits": (lambda a, b: F.cross_entropy(a @ b.T, torch.arange(4)), Compared.LOGITS),
    "gathered on both sides": (
        lambda a, b: F.cross_entropy(Gather.apply(a) @ Gather.apply(b).T, torch.arange(4)), Compared.LOGITS,
    ),
}  # fmt: skip


def sites_of(loss, model=None):
    """Return the embeddings of one step, and what the recorder failed at."""
    torch.manual_seed(0)
    model, windows = Two() if model is None else model, []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        loss(*model(torch.randn(4, 6), torch.randn(4, 6))).backward()
        optimizer.step()
    (window,) = windows
    assert [site for site in window.sites if site.coverage is Coverage.RECORDER_FAILED] == []
    return {site.module: site for site in window.sites if isinstance(site, EmbeddingSite)}, window


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_compare_is_seen_with_the_module_that_made_the_embeddings(way):
    loss, compared = WAYS[way]
    sites, window = sites_of(loss)
    assert "left" in sites
    assert sites["left"].compared is compared
    measured = {reading.site for reading in window.readings if reading.signal.family == "embedding"}
    assert sites["left"].path in measured


class Normalised(Two):
    def forward(self, *given):
        return tuple(F.normalize(side, dim=-1) for side in super().forward(*given))


class Wrapper(nn.Module):
    """As DistributedDataParallel holds a model."""

    def __init__(self):
        super().__init__()
        self.module = Normalised()

    def forward(self, *given):
        return self.module(*given)


def test_the_sides_of_a_model_in_a_wrapper_stay_apart():
    sites, _ = sites_of(lambda a, b: F.cross_entropy(a @ b.T, torch.arange(4)), Wrapper())
    assert set(sites) == {"left", "right"}


HEAD = nn.Parameter(torch.ones(3, 8))


def attention(left, right):
    weights = (left @ right.T).softmax(-1)
    return F.cross_entropy(F.linear(weights @ right, HEAD), torch.zeros(4, dtype=torch.long))


def mined(left, right):
    with torch.no_grad():
        nearest = torch.cdist(left, right).argmin(1)
    return left[nearest].square().mean()


def metric_beside(left, right):
    F.cosine_similarity(left, right).mean()
    return left.square().mean() + right.square().mean()


@pytest.mark.parametrize("loss", [attention, mined, metric_beside])
def test_what_no_loss_compares_is_no_embedding(loss):
    assert sites_of(loss)[0] == {}


def test_gates_and_residuals_within_a_model_are_no_embeddings():
    class Gated(Two):
        def forward(self, first, second):
            gate = (self.left(first) * self.left(first).sigmoid()).sum(1, keepdim=True)
            return self.right(second) * gate - self.left(first), self.right(second)

    sites, _ = sites_of(lambda a, b: F.cross_entropy(a, torch.arange(4)), Gated())
    assert sites == {}


class Tower(nn.Module):
    """A vision tower with a table of positions, as those of CLIP have."""

    def __init__(self):
        super().__init__()
        self.cut, self.place = nn.Conv2d(3, 8, 4, 4), nn.Embedding(4, 8)

    def forward(self, values):
        return (self.cut(values).flatten(2).mT + self.place(torch.arange(4))).mean(1)


class Flat(Tower):
    """The same without a convolution."""

    def __init__(self):
        super().__init__()
        self.cut = nn.Linear(48, 8)

    def forward(self, values):
        return (self.cut(values.reshape(len(values), 4, 48)) + self.place(torch.arange(4))).mean(1)


class Sides(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.first, self.second = first, nn.Embedding(20, 8)
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, pixels, ids):
        return self.a(self.first(pixels)), self.b(self.second(ids).mean(1))


@pytest.mark.parametrize(("tower", "side"), [(Tower, "image"), (Flat, "side")])
def test_a_table_of_positions_does_not_make_a_tower_one_of_texts(tower, side):
    torch.manual_seed(0)
    model, windows = Sides(tower()), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        left, right = model(torch.randn(8, 3, 8, 8), torch.randint(0, 20, (8, 5)))
        F.cross_entropy(left @ right.T, torch.arange(8)).backward()
        optimizer.step()
    sides = {site.module: site.side for site in windows[0].sites if isinstance(site, EmbeddingSite)}
    assert sides == {"a": side, "b": "text"}


def _pulls(loss_of):
    torch.manual_seed(0)
    model, windows = Two(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Recorder(lambda _: True, lambda window: windows.append(window.resolve())):
        loss_of(*model(torch.randn(5, 6), torch.randn(5, 6))).backward()
        optimizer.step()
    return [reading.values[0] for reading in windows[0].readings if reading.signal == EMBEDDING_PULL]


def _squared(difference):
    return difference * difference


PULLING = {
    "cosine": lambda a, b: (1 - F.cosine_similarity(a, b)).mean(),
    "product": lambda a, b: -(F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(-1).mean(),
    "negative": lambda a, b: (-(F.normalize(a, dim=-1) * F.normalize(b, dim=-1))).sum(-1).mean(),
    "einsum": lambda a, b: -torch.einsum("nc,nc->n", a, b).mean(),
    "mse": F.mse_loss,
    "squares": lambda a, b: (a - b).pow(2).sum(-1).mean(),
    "itself": lambda a, b: _squared(a - b).sum(-1).mean(),
    "distance": lambda a, b: F.pairwise_distance(a, b).mean(),
    "triplet": lambda a, b: F.triplet_margin_loss(a, b, b.roll(1, 0), margin=50.0),
}


@pytest.mark.parametrize("way", PULLING)
def test_partners_are_drawn_together_or_driven_apart_by_the_sign(way):
    assert _pulls(PULLING[way]) == [1.0]
    assert _pulls(lambda a, b: -PULLING[way](a, b)) == [0.0]


def test_a_loss_may_do_both():
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0])
    assert _pulls(lambda a, b: (signs * F.pairwise_distance(a, b)).sum()) == [pytest.approx(0.4)]


@pytest.mark.parametrize(
    "way",
    [
        lambda a, b: ((a - b) * (a - b)).sum(-1).mean(),
        lambda a, b: (a * b).pow(2).sum(-1).mean(),
        lambda a, b: ((a - b) * -1.0).sum(-1).mean(),
    ],
)
def test_what_draws_together_is_not_guessed(way):
    assert _pulls(way) == []
