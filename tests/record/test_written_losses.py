"""Losses that are written out: their scale, logits, chance level and task are right, or are said not to be known."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.measures.contrast import logit_scale
from edgeglass_diag.sites import Coverage, LossSite, Task
from tests.helpers.loops import record

SIZE, SCALE = 12, 8.0
EYE, LABELS = torch.eye(SIZE), torch.arange(SIZE)


def logits(image, text):
    return SCALE * image @ text.T


def siglip_ones_like(image, text):
    rows = logits(image, text) - 10
    return -F.logsigmoid((2 * torch.eye(SIZE) - torch.ones_like(rows)) * rows).sum(-1).mean()


def softplus(image, text):
    return F.softplus((1 - 2 * EYE) * (logits(image, text) - 10)).sum() / SIZE


def log_of_sigmoid(image, text):
    return -torch.log(torch.sigmoid((2 * EYE - 1) * (logits(image, text) - 10))).sum(1).mean()


def log_of_one_more(image, text):
    return torch.log1p(torch.exp(-(2 * EYE - 1) * (logits(image, text) - 10))).sum() / SIZE


def as_the_paper_writes_it(image, text):
    return torch.log(1 + torch.exp((1 - 2 * EYE) * (logits(image, text) - 10))).sum() / SIZE


def entropy_of_probabilities(image, text):
    return F.binary_cross_entropy(torch.sigmoid(logits(image, text) - 10), EYE, reduction="sum") / SIZE


def log_softmax_diagonal(image, text):
    return -logits(image, text).log_softmax(-1).diagonal().mean()


def log_softmax_of_columns(image, text):
    return -F.log_softmax(logits(image, text), dim=0).diagonal().mean()


def softmax_and_log(image, text):
    return -(logits(image, text).softmax(-1).log() * EYE).sum(-1).mean()


def nll(image, text):
    return F.nll_loss(logits(image, text).log_softmax(-1), LABELS)


def logsumexp(image, text):
    rows = logits(image, text)
    return (torch.logsumexp(rows, 1) - rows.diagonal()).mean()


def decoupled(image, text):
    rows = logits(image, text)
    return (torch.logsumexp(rows.masked_fill(EYE.bool(), -torch.inf), 1) - rows.diagonal()).mean()


def supcon(image, text):
    rows = logits(image, text)
    rows = rows - rows.max(1, keepdim=True).values.detach()
    return -(rows - rows.exp().sum(1, keepdim=True).log()).diagonal().mean()


def less_its_logsumexp(image, text):
    rows = logits(image, text)
    return -(EYE * (rows - torch.logsumexp(rows, 1)[:, None])).sum(1).mean()


def nt_xent(image, text):
    both = torch.cat([image, text])
    rows = (SCALE * both @ both.T).masked_fill(torch.eye(2 * SIZE).bool(), -9e15)
    return F.cross_entropy(rows, torch.arange(2 * SIZE).roll(SIZE))


def indexed(image, text):
    """Positives and negatives taken out of the cosines before the temperature, as pytorch-metric-learning does."""
    cosines = image @ text.T
    positives, negatives = SCALE * cosines[LABELS, LABELS], SCALE * cosines[~EYE.bool()].view(SIZE, -1)
    return (positives.exp() + negatives.exp().sum(1)).log().sub(positives).mean()


def run(loss_of, *, autocast=False):
    def loop():
        image, text = nn.Linear(6, 8), nn.Linear(5, 8)
        optimizer = torch.optim.SGD([*image.parameters(), *text.parameters()], lr=0.1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            sides = image(torch.randn(SIZE, 6)), text(torch.randn(SIZE, 5))
            loss = loss_of(*(F.normalize(side.float(), dim=-1) for side in sides))
        loss.backward()
        optimizer.step()
        return loss.item()

    loss, (got,), (window,) = record(loop)
    return loss, got, [site for site in window.sites if isinstance(site, LossSite)]


def scale_of(got):
    return next(v[0] for (_, signal), v in got.items() if signal == "embedding/scale")


KNOWN = [log_softmax_diagonal, log_softmax_of_columns, softmax_and_log, nll, supcon, less_its_logsumexp]
OPEN = [logsumexp, decoupled]


@pytest.mark.parametrize("loss_of", [*KNOWN, *OPEN, siglip_ones_like, nt_xent], ids=lambda f: f.__name__)
def test_the_scale_is_that_of_the_logits(loss_of):
    assert scale_of(run(loss_of)[1]) == pytest.approx(SCALE, rel=1e-3)


@pytest.mark.parametrize("loss_of", [nll, siglip_ones_like, logsumexp], ids=lambda f: f.__name__)
def test_the_scale_is_right_in_bfloat16(loss_of):
    assert scale_of(run(loss_of, autocast=True)[1]) == pytest.approx(SCALE, rel=5e-3)


@pytest.mark.parametrize("loss_of", KNOWN, ids=lambda f: f.__name__)
def test_what_is_linear_in_log_probabilities_is_known_once(loss_of):
    loss, got, sites = run(loss_of)
    assert got["", "loss/explained"][0] == pytest.approx(loss, rel=1e-5)
    assert got["", "loss/chance"][0] == pytest.approx(math.log(SIZE), rel=1e-5)
    assert [(site.task, site.is_observed) for site in sites] == [(Task.CONTRASTIVE, True)]


@pytest.mark.parametrize("loss_of", [*OPEN, indexed], ids=lambda f: f.__name__)
def test_what_is_not_known_is_said(loss_of):
    _, got, sites = run(loss_of)
    assert ("", "loss/chance") not in got
    assert [site.coverage for site in sites if not site.is_observed] == [Coverage.UNKNOWN_LOSS]


def ranked(image, text):
    """Bayesian personalised ranking: differences of logits, and no labels."""
    rows = logits(image, text)
    return F.softplus(rows - rows.diagonal()[:, None]).mean()


SPELLINGS = [softplus, log_of_sigmoid, log_of_one_more, as_the_paper_writes_it, entropy_of_probabilities]


@pytest.mark.parametrize("loss_of", SPELLINGS, ids=lambda f: f.__name__)
def test_a_sigmoid_loss_is_known_however_it_is_written(loss_of):
    loss, got, sites = run(loss_of)
    share = 1 / SIZE
    chance = -SIZE * (share * math.log(share) + (1 - share) * math.log(1 - share))
    assert got["", "loss/explained"][0] == pytest.approx(loss, rel=1e-5)
    assert got["", "loss/chance"][0] == pytest.approx(chance, rel=1e-5)
    assert scale_of(got) == pytest.approx(SCALE, rel=1e-3)
    assert [(site.is_sigmoid, site.task, site.is_observed) for site in sites] == [(True, Task.CONTRASTIVE, True)]
    assert got[sites[0].path, "loss/labels_diagonal"] == (1.0,)


def test_differences_of_logits_are_no_labelled_logits():
    _, got, sites = run(ranked)
    assert ("", "loss/chance") not in got
    assert Coverage.NOT_CONTRASTIVE in {site.coverage for site in sites}


def test_labels_of_siglip_made_in_the_shape_of_the_logits_are_labels():
    loss, got, _ = run(siglip_ones_like)
    share = 1 / SIZE
    chance = -SIZE * (share * math.log(share) + (1 - share) * math.log(1 - share))
    assert got["", "loss/explained"][0] == pytest.approx(loss, rel=1e-5)
    assert got["", "loss/chance"][0] == pytest.approx(chance, rel=1e-5)
    assert got["logsigmoid", "loss/labels_diagonal"] == (1.0,)


@pytest.mark.parametrize("bias", [0.0, -10.0])
def test_rounding_does_not_enlarge_the_scale(bias):
    generator = torch.Generator().manual_seed(0)
    cosines = 0.9 + 0.01 * torch.randn(64, 64, generator=generator)
    rounded = (14.3 * cosines + bias).bfloat16().float()
    assert logit_scale(rounded, cosines) == pytest.approx(14.3, rel=0.02)
    assert logit_scale(rounded.mT, cosines) == pytest.approx(14.3, rel=0.02)


def tasks_of(loss_of):
    torch.manual_seed(0)
    image, text, head = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(8, 4)

    def loop():
        optimizer = torch.optim.SGD([*image.parameters(), *text.parameters(), *head.parameters()], lr=0.1)
        loss_of(image(torch.randn(SIZE, 6)), text(torch.randn(SIZE, 5)), head).backward()
        optimizer.step()

    _, _, (window,) = record(loop)
    return {site.task for site in window.sites if isinstance(site, LossSite)}


CLASSES = LABELS % 4
TASKS = {
    Task.CONTRASTIVE: lambda u, v, head: F.cross_entropy(u @ v.T, LABELS),
    Task.CLASSIFICATION: lambda u, v, head: F.cross_entropy(head(u) / 2, CLASSES),
    Task.GENERATION: lambda u, v, head: F.cross_entropy(head(u.view(3, 4, 8)).reshape(-1, 4), CLASSES),
    Task.DISTILLATION: lambda u, v, head: F.mse_loss(u, v.detach()),
    Task.REGRESSION: lambda u, v, head: F.l1_loss(u, torch.ones(SIZE, 8)),
}


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_task_of_a_loss_is_known(task):
    assert tasks_of(TASKS[task]) == {task}


def test_logits_that_are_joined_of_products_are_a_contrast():
    def loss_of(u, v, head):
        cosines = u @ v.T
        rows = torch.cat([cosines.diagonal()[:, None], cosines[~EYE.bool()].view(SIZE, -1)], 1)
        return F.cross_entropy(rows, torch.zeros(SIZE, dtype=torch.long))

    assert tasks_of(loss_of) == {Task.CONTRASTIVE}


def test_arguments_by_keyword_are_no_fault_of_the_recorder(tmp_path):
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with eg.watch(model, optimizer, out=tmp_path / "run"):
        for _ in range(3):
            made = model(torch.randn(6, 4))
            picked = torch.gather(input=made, dim=1, index=torch.zeros(6, 1, dtype=torch.long))
            loss = (
                torch.div(input=torch.sum(input=torch.exp(input=picked)), other=6.0)
                - torch.log(input=made.exp()).mean()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with eg.load(tmp_path / "run") as run:
        assert "EG905" not in {finding.code for finding in run.findings}
