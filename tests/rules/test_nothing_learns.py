"""Trainings without any gradient: targets all ignored, a loss of zero, a loss that knows nothing of the optimizer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.nothing_learns import NoTargetLeft, NothingLearns
from tests.helpers.windows import judge, learning

RULES = (NothingLearns, NoTargetLeft)


def findings(folder, loss_of, *, steps=13, held=None, lr=1e-2):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    optimizer = torch.optim.AdamW(held or model.parameters(), lr=lr)
    with eg.watch(model, optimizer, out=folder):
        for step in range(steps):
            x = torch.randn(16, 8)
            loss = loss_of(model(x), x[:, :4].argmax(1), step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with eg.load(folder) as run:
        return {f.code: f for f in run.findings}


def ignoring(share, reduction="sum"):
    def loss_of(logits, target, step):
        target = target.masked_fill(torch.arange(len(target)) < share * len(target), -100)
        loss = F.cross_entropy(logits, target, reduction=reduction)
        return loss / (target != -100).sum().clamp(min=1) if reduction == "sum" else loss

    return loss_of


def plain(logits, target, step):
    return F.cross_entropy(logits, target)


def test_targets_that_are_all_ignored_are_the_cause_of_it(tmp_path):
    found = findings(tmp_path / "run", ignoring(1.0))
    assert found["EG219"].severity == found["EG218"].severity == "critical"
    assert (found["EG219"].because_of, found["EG218"].because_of) == (None, "EG219")


def test_their_mean_is_nan_at_once(tmp_path):
    found = findings(tmp_path / "run", ignoring(1.0, "mean"), steps=2)
    assert found["EG219"].step == 0
    assert found["EG801"].because_of == "EG219"


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_some_targets_are_enough(tmp_path, reduction):
    assert findings(tmp_path / "run", ignoring(0.9, reduction)) == {}


def test_one_loss_of_two_without_targets_is_a_warning(tmp_path):
    def both(logits, target, step):
        return ignoring(1.0)(logits, target, step) + F.cross_entropy(logits, target)

    found = findings(tmp_path / "run", both)
    assert found["EG219"].severity == "warning"
    assert "EG218" not in found


@pytest.mark.parametrize(("factor", "ill"), [(lambda step: 0.0, True), (lambda step: float(step > 6), False)])
def test_a_loss_times_zero(tmp_path, factor, ill):
    found = findings(tmp_path / "run", lambda logits, target, step: factor(step) * F.cross_entropy(logits, target))
    assert ("EG218" in found) == ill


def test_a_margin_that_is_reached_is_no_fault(tmp_path):
    def hinge(logits, target, step):
        return F.relu(1e-3 - logits.square().mean()) if step else logits.square().mean()

    assert "EG218" not in findings(tmp_path / "run", hinge)


def test_steps_that_are_far_too_large_are_the_cause_of_dead_units():
    found, _ = judge(
        learning(
            **{
                "w|update/ratio": lambda t: 0.3 if t < 30 else 0.0,
                "|gradient/norm": lambda t: 1.0 if t < 30 else 0.0,
                "|loss/total": lambda t: 4.852,
                "|loss/explained": lambda t: 4.852,
            }
        )
    )
    assert found["EG218"].because_of == "EG202"
    assert found["EG202"].because_of is None


def test_a_loss_of_other_tensors_than_the_optimizers(tmp_path):
    found = findings(tmp_path / "run", plain, held=[nn.Parameter(torch.ones(3))])
    assert found["EG218"].because_of == "EG009"
    assert found["EG009"].severity == "critical"


def test_a_rate_of_zero_is_called_so(tmp_path):
    found = findings(tmp_path / "run", plain, lr=0.0)
    assert found.keys() == {"EG205"}
    assert "the learning rate is 0" in found["EG205"].message


def built(share):
    def build():
        model = nn.Linear(8, 4)
        optimizer = torch.optim.AdamW(model.parameters())

        def step():
            x = torch.randn(16, 8)
            ignoring(share)(model(x), x[:, :4].argmax(1), 0).backward()
            optimizer.step()

        return model, optimizer, step

    return build


def test_a_check_says_it_before_the_first_step():
    assert {f.code: str(f.severity) for f in eg.check(built(1.0)).findings} == {"EG219": "critical", "EG218": "warning"}
    assert eg.check(built(0.5)).findings == ()
