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
