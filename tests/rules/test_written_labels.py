"""Labels of losses that are written by hand are known by the gradient that reaches their log-probabilities."""

import pytest
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.labels import LabelsConstant
from edgeglass_diag.rules.loss_terms import LabelsOffDiagonal, PairsPushedApart
from edgeglass_diag.rules.pairings import WrongPairing
from edgeglass_diag.rules.targets import ComparedWithItself

B, WIDTH = 32, 12


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8)
        self.body = nn.Sequential(nn.Linear(WIDTH, 24), nn.ReLU())
        self.classes = nn.Linear(24, 5)


def codes(folder, loss_of, steps=24):
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rules = [LabelsConstant(), LabelsOffDiagonal(), ComparedWithItself(), WrongPairing(), PairsPushedApart()]
    with eg.watch(model, optimizer, out=folder, every=2, rules=rules):
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model, torch.randn(B, WIDTH)).backward()
            optimizer.step()
    return {finding.code for finding in eg.load(folder).findings}


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def gathered(logits, labels):
    return -logits.log_softmax(-1).gather(-1, labels[:, None]).mean()


def one_hot(logits, labels):
    return -(F.one_hot(labels, logits.shape[1]) * F.log_softmax(logits, dim=1)).sum(-1).mean()


def indexed(logits, labels):
    return -torch.log(torch.softmax(logits, -1))[torch.arange(len(labels)), labels].mean()


def divergence(logits, labels):
    targets = F.one_hot(labels, logits.shape[1]).float()
    return F.kl_div(logits.log_softmax(-1), targets, reduction="batchmean")


def soft(logits, labels):
    return F.cross_entropy(logits, 0.9 * F.one_hot(labels, logits.shape[1]) + 0.1 / logits.shape[1])


def by_exponentials(logits, labels):
    exponentials = (logits - logits.max(1, keepdim=True).values.detach()).exp()
    shares = exponentials / exponentials.sum(1, keepdim=True)
    return -(F.one_hot(labels, logits.shape[1]) * (shares.log())).sum(1).mean()


CONTRASTS = (gathered, one_hot, indexed, divergence, soft, by_exponentials)


def pairs(loss, shift):
    def loss_of(model, x):
        image, text = unit(model.image(x)), unit(model.text(x + 0.3 * torch.randn_like(x)))
        return loss(10 * torch.einsum("id,jd->ij", image, text), torch.arange(B).roll(shift))

    return loss_of


@pytest.mark.parametrize("loss", CONTRASTS, ids=lambda f: f.__name__)
def test_labels_beside_the_pairs_are_named(tmp_path, loss):
    assert codes(tmp_path / "ill", pairs(loss, 1)) == {"EG406"}
    assert codes(tmp_path / "healthy", pairs(loss, 0)) == set()


def views(shift):
    """A supervised contrast as its paper writes it, each sample among its own classes."""

    def loss_of(model, x):
        rows = unit(model.image(torch.cat([x + 0.1 * torch.randn_like(x) for _ in range(2)])))
        logits, own = rows @ rows.T / 0.2, torch.eye(2 * B)
        positives = own.roll(B + shift, 0)
        logs = logits - torch.log((logits.exp() * (1 - own)).sum(1, keepdim=True))
        return -((positives * logs).sum(1) / positives.sum(1)).mean()

    return loss_of


def test_views_that_are_labelled_with_their_neighbours_are_named(tmp_path):
    assert codes(tmp_path / "ill", views(1)) == {"EG314"}
    assert codes(tmp_path / "healthy", views(0)) == set()


HEADS = (gathered, one_hot, indexed, soft)


@pytest.mark.parametrize("loss", HEADS, ids=lambda f: f.__name__)
def test_one_label_for_all_is_named(tmp_path, loss):
    def labelled(labels_of):
        return lambda model, x: loss(model.classes(model.body(x)), labels_of(x))

    assert codes(tmp_path / "ill", labelled(lambda x: torch.full((B,), 3))) == {"EG419"}
    assert codes(tmp_path / "healthy", labelled(lambda x: x[:, :5].argmax(1))) == set()


def policy(model, x):
    """Actions that are always the same, and earn more and less."""
    return -(Categorical(logits=model.classes(model.body(x))).log_prob(torch.full((B,), 3)) * x[:, 0]).mean()


def router(model, x):
    """The entropy of a choice, which has no labels."""
    logs = model.classes(model.body(x)).log_softmax(-1)
    return (logs.exp() * logs).sum(-1).mean()


@pytest.mark.parametrize("loss_of", [policy, router], ids=lambda f: f.__name__)
def test_what_is_no_label_is_silent(tmp_path, loss_of):
    assert codes(tmp_path, loss_of) == set()


def contrast_of(second):
    def loss_of(model, x):
        image, text = unit(model.image(x)), unit(second(model, x))
        return gathered(10 * image @ text.T, torch.arange(B))

    return loss_of


def test_a_contrast_of_a_tensor_with_itself_is_named(tmp_path):
    assert codes(tmp_path / "ill", contrast_of(lambda model, x: model.image(x))) == {"EG313"}
    assert codes(tmp_path / "one", contrast_of(lambda model, x: model.image(x + 0.1 * torch.randn_like(x)))) == set()
    assert codes(tmp_path / "two", contrast_of(lambda model, x: model.text(x))) == set()


def by_distances(loss, sign, power):
    def loss_of(model, x):
        distances = torch.cdist(model.image(x), model.text(x)) ** power
        return loss(sign * distances, torch.arange(B))

    return loss_of


@pytest.mark.parametrize(("loss", "power"), [(gathered, 1), (F.cross_entropy, 2)])
def test_distances_that_are_taken_for_similarities_are_named(tmp_path, loss, power):
    assert codes(tmp_path / "ill", by_distances(loss, 1, power), steps=80) == {"EG410"}
    assert codes(tmp_path / "healthy", by_distances(loss, -1, power), steps=80) == set()
