"""Modules in the wrong mode, and BatchNorm whose running statistics do not fit the batches."""

import copy

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.measures.batch_norm import batch_statistic, mismatch
from edgeglass_diag.rules.modes import FrozenNormUndone, LeftInEvaluation, NormUntouched, StatisticsDoNotFit
from edgeglass_diag.rules.running_statistics import StatisticsNeverMove

RULES = (LeftInEvaluation, FrozenNormUndone, NormUntouched, StatisticsDoNotFit, StatisticsNeverMove)


def small():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def codes(folder, *, model=None, before=lambda step: None, data=lambda step: torch.randn(16, 6), steps=18, every=10):
    torch.manual_seed(0)
    model = small() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=folder, every=every, rules=[rule() for rule in RULES]):
        for step in range(steps):
            before(step)
            model(data(step)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    with eg.load(folder) as run:
        return {(f.code, f.site, f.since) for f in run.findings}


@pytest.mark.parametrize("back", [True, False])
def test_an_evaluation_that_leaves_the_model_in_its_mode(tmp_path, back):
    model = small()

    def evaluate(step):
        if step == 4:
            model.eval()
            with torch.no_grad():
                model(torch.randn(4, 6))
            model.train(back)

    assert codes(tmp_path / "run", model=model, before=evaluate) == (set() if back else {("EG220", "", 4)})


@pytest.mark.parametrize("undone", [True, False])
def test_a_frozen_norm_that_train_wakes_up(tmp_path, undone):
    model = small()
    model[1].running_mean.fill_(0.1)
    model[1].eval()

    def train(step):
        if step == 5 and undone:
            model.train()

    assert codes(tmp_path / "run", model=model, before=train) == ({("EG221", "1", 5)} if undone else set())


def test_a_norm_that_is_frozen_on_the_way_is_no_fault(tmp_path):
    model = small()
    assert codes(tmp_path / "run", model=model, before=lambda step: model[1].train(step < 5)) == set()


@pytest.mark.parametrize("buffers", [True, False])
def test_a_momentum_encoder_whose_buffers_are_not_copied(tmp_path, buffers):
    model = small()
    teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def follow(step):
        with torch.no_grad():
            for mine, yours in zip(teacher.parameters(), model.parameters(), strict=True):
                mine.lerp_(yours, 0.1)
            for mine, yours in zip(teacher.buffers(), model.buffers(), strict=True):
                if buffers and step:
                    mine.copy_(yours)
            teacher(torch.randn(16, 6))

    found = codes(tmp_path / "run", model=model, before=follow)
    assert {code for code, *_ in found} == (set() if buffers else {"EG222"})


@pytest.mark.parametrize("mixed", [True, False])
def test_batches_of_one_source_each_leave_statistics_that_fit_none(tmp_path, mixed):
    sources = torch.tensor([-8.0, 0.0, 3.0, 9.0])

    def data(step):
        source = torch.randint(0, 4, (32,)) if mixed else torch.full((32,), step % 4)
        return torch.randn(32, 6) + sources[source][:, None]

    found = codes(tmp_path / "run", data=data, steps=61, every=5)
    assert {(code, site) for code, site, _ in found} == (set() if mixed else {("EG223", "1")})


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_the_statistics_of_a_batch_are_worked_out_of_the_running_ones(momentum):
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(5, momentum=momentum)
    norm(torch.randn(7, 5) + 3)
    before, x = (norm.running_mean.clone(), norm.running_var.clone()), 2 * torch.randn(900, 5) - 1
    norm(x)
    share = 1 / norm.num_batches_tracked.float() if momentum is None else momentum
    mean = batch_statistic(before[0], norm.running_mean, share)
    variance = batch_statistic(before[1], norm.running_var, share)
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, x.var(0), rtol=1e-4, atol=1e-5)
    own = (x - mean) / (variance + norm.eps).sqrt()
    kept = (x - before[0]) / (before[1] + norm.eps).sqrt()
    slow = (own - kept).square().mean()
    assert mismatch(mean, variance, *before, norm.eps).item() == pytest.approx(slow.item(), rel=0.05)


def standing(folder, model, before=lambda step: None):
    """Return the severities by code."""
    codes(folder, model=model, before=before, steps=32)
    with eg.load(folder) as run:
        return {finding.code: str(finding.severity) for finding in run.findings}


@pytest.mark.parametrize("momentum", [0.0, 0.1, None])
def test_a_momentum_of_zero_keeps_no_statistics(tmp_path, momentum):
    model = small()
    model[1].momentum = momentum
    assert standing(tmp_path / "run", model) == ({"EG317": "warning"} if momentum == 0 else {})


def test_a_second_pass_without_statistics_is_silent(tmp_path):
    """Sharpness-aware minimisation switches the momentum off for its second pass."""
    model = small()
    passes = []
    model[1].register_forward_pre_hook(lambda norm, _: setattr(norm, "momentum", 0.0 if passes else 0.1))

    def first(step):
        passes.clear()
        model(torch.randn(16, 6)).sum().backward()
        passes.append(step)

    assert standing(tmp_path / "run", model, first) == {}


@pytest.mark.parametrize("trained", [True, False], ids=["all in evaluation mode", "a frozen tower"])
def test_what_is_trained_as_it_is_evaluated_is_a_fact(tmp_path, trained):
    model = small()
    (model if trained else model[1]).eval()
    model[1].requires_grad_(trained)
    assert standing(tmp_path / "run", model)["EG222"] == ("info" if trained else "warning")


def test_a_head_trained_on_what_evaluation_gives_makes_facts_of_it(tmp_path):
    """The second stage of contrastive learning: the encoder, whose statistics never moved, is frozen for a probe."""
    model = small()
    model[1].momentum = 0.0

    def probe(step):
        if step == 15:
            model.eval()
            model[:4].requires_grad_(False)

    assert standing(tmp_path / "run", model, probe) == {"EG220": "warning", "EG222": "info", "EG317": "info"}
