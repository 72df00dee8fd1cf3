"""Losses that are maximised, and trainings that maximise something on purpose."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.comparison_result import ComparisonLearnedNothing
from edgeglass_diag.rules.loss_sign import LossMaximised

RULES = (LossMaximised,)
B = 32


class Model(nn.Module):
    """An encoder with a head for classes and one for two, and a second encoder."""

    def __init__(self):
        super().__init__()
        self.encoder, self.other = nn.Linear(16, 24), nn.Linear(16, 24)
        self.classes, self.domain = nn.Linear(24, 6), nn.Linear(24, 2)

    def forward(self, x):
        return self.classes(self.encoder(x))


def findings(folder, loss_of, *, steps=30, begun=0):
    """What is found of a training, after ``begun`` steps of the usual one that nobody watches."""
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def train(loss_of, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model, torch.randn(B, 16)).backward()
            optimizer.step()

    train(classes, begun)
    with eg.watch(model, optimizer, out=folder, every=2, rules=[LossMaximised()]):
        train(loss_of, steps)
    return eg.load(folder).findings


def severities(folder, loss_of, **how):
    return [finding.severity for finding in findings(folder, loss_of, **how)]


def classes(model, x):
    return F.cross_entropy(model(x), x[:, :6].argmax(1))


def log_probabilities(model, x):
    return F.nll_loss(model(x).log_softmax(-1), x[:, :6].argmax(1))


def regression(model, x):
    return F.mse_loss(model.encoder(x), x @ torch.eye(16, 24))


def contrast(model, x):
    logits = F.normalize(model.encoder(x), dim=-1) @ F.normalize(model.other(x), dim=-1).T
    return F.cross_entropy(10 * logits, torch.arange(B))


def cosine(model, x):
    return (1 - F.cosine_similarity(model.encoder(x), F.pad(x, (0, 8)))).mean()


def product(model, x):
    return 1 - (F.normalize(model.encoder(x), dim=-1) * F.normalize(F.pad(x, (0, 8)), dim=-1)).sum(-1).mean()


def distance(model, x):
    return (F.normalize(model.encoder(x), dim=-1) - F.normalize(F.pad(x, (0, 8)), dim=-1)).pow(2).sum(-1).mean()


LOSSES = [classes, log_probabilities, regression, contrast, cosine, product, distance]


@pytest.mark.parametrize("loss_of", LOSSES)
def test_a_loss_with_a_minus_too_many_is_named(tmp_path, loss_of):
    assert Severity.CRITICAL in severities(tmp_path, lambda model, x: -loss_of(model, x))


@pytest.mark.parametrize("loss_of", LOSSES)
def test_the_same_loss_without_it_is_silent(tmp_path, loss_of):
    assert severities(tmp_path, loss_of) == []


def test_the_message_leads_with_the_fault(tmp_path):
    (finding,) = findings(tmp_path, lambda model, x: -classes(model, x))
    assert finding.message.startswith(
        "Loss has the wrong sign: cross_entropy is maximised: it went from 1.994 to 7.588"
    )
    assert finding.fix.startswith("Take away the minus")


def test_a_domain_that_is_confused_beside_classes_is_silent(tmp_path):
    def loss_of(model, x):
        return classes(model, x) - F.cross_entropy(model.domain(model.encoder(x)), (x[:, 0] > 0).long())

    assert severities(tmp_path, loss_of) == []


def test_a_policy_whose_actions_always_cost_is_silent(tmp_path):
    def loss_of(model, x):
        logits = model(x)
        actions = torch.distributions.Categorical(logits=logits.detach()).sample()
        returns = -1 - torch.rand(B)
        return (F.cross_entropy(logits, actions, reduction="none") * returns).mean()

    assert severities(tmp_path, loss_of) == []


def test_what_was_known_may_be_meant_to_be_forgotten(tmp_path):
    assert severities(tmp_path, lambda model, x: -classes(model, x), begun=60, steps=45) == [Severity.WARNING]


def test_strangers_driven_apart_beside_partners_drawn_together_are_silent(tmp_path):
    def loss_of(model, x):
        anchor, partner = model.encoder(x), model.other(x)
        apart = F.cosine_similarity(anchor, partner.roll(1, 0)).mean()
        return apart - F.cosine_similarity(anchor, partner).mean()

    assert severities(tmp_path, loss_of) == []


class Predicted(nn.Module):
    """An encoder whose outputs of one view a predictor makes into those of the other."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24, affine=False))
        self.predictor = nn.Sequential(nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 24))


def severities_of_a_predictor(folder, sign, *, of_a_teacher=False):
    torch.manual_seed(0)
    model, teacher = Predicted(), nn.Linear(16, 24)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with eg.watch(model, optimizer, out=folder, every=2, rules=[LossMaximised(), ComparisonLearnedNothing()]):
        for _ in range(60):
            x = torch.randn(B, 16)
            views = [x + 0.1 * torch.randn(B, 16) for _ in range(2)]
            z = [model.encoder(view) for view in views]
            target = teacher(views[1]) if of_a_teacher else z[1]
            optimizer.zero_grad()
            (-sign * F.cosine_similarity(model.predictor(z[0]), target.detach()).mean()).backward()
            optimizer.step()
    return [finding.severity for finding in eg.load(folder).findings]


def test_a_predictor_learns_the_sign_that_is_wrong(tmp_path):
    assert severities_of_a_predictor(tmp_path, -1.0) == [Severity.INFO]


def test_a_predictor_with_the_right_sign_is_silent(tmp_path):
    assert severities_of_a_predictor(tmp_path, 1.0) == []


def test_a_student_that_is_driven_from_its_teacher_is_named(tmp_path):
    assert severities_of_a_predictor(tmp_path, -1.0, of_a_teacher=True) == [Severity.CRITICAL]
