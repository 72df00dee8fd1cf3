"""Labels that never vary, and labels that are constant by design."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.labels import LabelsConstant

RULES = (LabelsConstant,)
B = 48


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 24), nn.ReLU())
        self.classes, self.two, self.score = nn.Linear(24, 5), nn.Linear(24, 2), nn.Linear(24, 1)


def codes(folder, loss_of, steps=24):
    torch.manual_seed(0)
    model = Heads()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=folder, every=2, rules=[LabelsConstant()]):
        for _ in range(steps):
            optimizer.zero_grad()
            x = torch.randn(B, 12)
            loss_of(model, x, model.body(x)).backward()
            optimizer.step()
    return {finding.code for finding in eg.load(folder).findings}


def labelled(labels_of):
    return lambda model, x, h: F.cross_entropy(model.classes(h), labels_of(x))


def kinds(x):
    return x[:, :5].argmax(1)


@pytest.mark.parametrize("label", [0, 3])
def test_a_label_for_all_is_named(tmp_path, label):
    assert codes(tmp_path, labelled(lambda x: torch.full_like(kinds(x), label))) == {"EG419"}


def test_nll_loss_is_told_as_well(tmp_path):
    assert codes(tmp_path, lambda model, x, h: F.nll_loss(model.classes(h).log_softmax(1), 0 * kinds(x))) == {"EG419"}


def test_labels_that_vary_are_silent(tmp_path):
    assert codes(tmp_path, labelled(kinds)) == set()


def test_one_row_with_another_label_is_enough(tmp_path):
    assert codes(tmp_path, labelled(lambda x: torch.tensor([1, *[0] * (B - 1)]))) == set()


def test_batches_of_one_class_each_are_silent(tmp_path):
    drawn = iter(torch.randint(0, 5, (100,)).tolist())
    assert codes(tmp_path, labelled(lambda x: torch.full((B,), next(drawn)))) == set()


def test_a_domain_has_one_label_at_each_of_its_losses(tmp_path):
    def loss_of(model, x, h):
        source, target = model.two(h[: B // 2]), model.two(h[B // 2 :])
        zeros = torch.zeros(B // 2, dtype=torch.long)
        return F.cross_entropy(source, zeros) + F.cross_entropy(target, zeros + 1)

    assert codes(tmp_path, loss_of, steps=300) == set()


def test_two_classes_may_be_as_rare_as_in_fraud(tmp_path):
    assert codes(tmp_path, lambda model, x, h: F.cross_entropy(model.two(h), 0 * kinds(x))) == set()


@pytest.mark.parametrize("across", [False, True], ids=["columns", "queue"])
def test_the_first_candidate_is_the_right_one_by_design(tmp_path, across):
    """As in MoCo, and where several answers are scored by one output."""

    def loss_of(model, x, h):
        keys = torch.randn(24, 30)
        logits = torch.cat([h.sum(1, keepdim=True), h @ keys], 1) if across else model.score(h).view(-1, 4)
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))

    assert codes(tmp_path, loss_of) == set()


def sigmoid_of(signs):
    """As SigLIP, with a matrix of labels."""

    def loss_of(model, x, h):
        a, b = F.normalize(h, dim=1), F.normalize(model.body(x + 0.1 * torch.randn_like(x)), dim=1)
        return -F.logsigmoid(signs * (10 * a @ b.T - 5)).sum() / B

    return loss_of


def binary_of(targets):
    def loss_of(model, x, h):
        logits = 8 * F.normalize(h, dim=1) @ F.normalize(model.body(x.flip(1)), dim=1).T - 4
        return F.binary_cross_entropy_with_logits(logits, targets)

    return loss_of


@pytest.mark.parametrize(
    "loss_of",
    [
        sigmoid_of(torch.ones(B, B)),
        sigmoid_of(-torch.ones(B, B)),
        binary_of(torch.ones(B, B)),
        binary_of(torch.zeros(B, B)),
    ],
    ids=["all pairs", "no pair", "targets of one", "targets of zero"],
)
def test_pairs_that_all_have_one_label_are_named(tmp_path, loss_of):
    assert codes(tmp_path, loss_of) == {"EG419"}


@pytest.mark.parametrize(
    "loss_of",
    [sigmoid_of(2 * torch.eye(B) - 1), binary_of(torch.eye(B)), binary_of((torch.rand(B, B) < 0.3).float())],
    ids=["siglip", "targets", "many matches"],
)
def test_pairs_among_strangers_are_silent(tmp_path, loss_of):
    assert codes(tmp_path, loss_of) == set()


def test_words_and_noise_have_a_label_each(tmp_path):
    def loss_of(model, x, h):
        words = h @ model.body(x).T
        noise = h @ model.body(torch.randn(20, 12)).T
        return -F.logsigmoid(words).mean() - F.logsigmoid(-noise).mean()

    assert codes(tmp_path, loss_of) == set()


def test_tags_may_be_rare(tmp_path):
    """A head of tags of which none was given is no contrast of pairs."""
    assert (
        codes(
            tmp_path,
            lambda model, x, h: F.binary_cross_entropy_with_logits(model.classes(h), torch.zeros(len(h), 5)),
        )
        == set()
    )


def contrast(labels_of, *, first=False):
    """In-batch negatives; ``first``: the partner in the first column, and the strangers behind it."""

    def loss_of(model, x, h):
        a, b = F.normalize(h, dim=1), F.normalize(model.body(x + 0.1 * torch.randn_like(x)), dim=1)
        logits = 8 * a @ b.T
        if first:
            strangers = logits[~torch.eye(B, dtype=torch.bool)].view(B, B - 1)
            logits = torch.cat([logits.diagonal().unsqueeze(1), strangers], 1)
        return F.cross_entropy(logits, labels_of())

    return loss_of


@pytest.mark.parametrize("label", [0, 7])
def test_one_partner_for_all_rows_is_named(tmp_path, label):
    assert codes(tmp_path, contrast(lambda: torch.full((B,), label))) == {"EG419"}


@pytest.mark.parametrize(
    "loss_of",
    [
        contrast(lambda: torch.arange(B)),
        contrast(lambda: torch.arange(B).roll(1)),
        contrast(lambda: torch.randint(0, B, (B,))),
        contrast(lambda: torch.zeros(B, dtype=torch.long), first=True),
    ],
    ids=["pairs", "shifted", "random classes", "the partner comes first"],
)
def test_other_labels_of_a_contrast_are_not_called_constant(tmp_path, loss_of):
    assert codes(tmp_path, loss_of) == set()
