"""Parameters whose role changes while they train: frozen, unfrozen, replaced, untied, gradients taken away."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.parameter_state import FrozenMidway, ParametersReplaced, UnfrozenNotHeld, WeightsUntied
from edgeglass_diag.sites import Coverage

RULES = (UnfrozenNotHeld, ParametersReplaced, WeightsUntied, FrozenMidway)


class Model(nn.Module):
    """An encoder and a head that share nothing, or an embedding and a head that are one tensor."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)

    def forward(self, x):
        return self.head(torch.tanh(self.encoder(x)))


def run(folder, model, optimizer, *, at=(-1, lambda: None), steps=16, after_backward=lambda step: None):
    torch.manual_seed(0)
    target = torch.randn(8, 8)
    with eg.watch(model, optimizer, out=folder):
        for step in range(steps):
            if step == at[0]:
                at[1]()
            x = torch.randn(16, 8)
            loss = F.cross_entropy(model(x), (x @ target).argmax(1))
            optimizer.zero_grad()
            loss.backward()
            after_backward(step)
            optimizer.step()
    with eg.load(folder) as loaded:
        found = {(f.code, f.site, str(f.severity), f.since) for f in loaded.findings}
        return found, {site.path: site for site in loaded.sites if site.kind == "parameter"}


def trainable(model):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)


@pytest.mark.parametrize("joins", [False, True])
def test_unfrozen_parameters_are_missed_unless_the_optimizer_is_given_them(tmp_path, joins):
    model = Model()
    model.encoder.requires_grad_(False)
    optimizer = trainable(model)

    def unfreeze():
        model.encoder.requires_grad_(True)
        if joins:
            optimizer.add_param_group({"params": list(model.encoder.parameters())})

    found, sites = run(tmp_path / "run", model, optimizer, at=(5, unfreeze))
    assert found >= (set() if joins else {("EG008", "encoder", "warning", 5)})
    assert not {code for code, *_ in found} & ({"EG003", "EG008"} if joins else {"EG003"})
    assert sites["encoder.weight"].trainable_since == 5
    assert sites["encoder.weight"].is_observed == joins


@pytest.mark.parametrize("joins", [False, True])
def test_a_module_that_is_replaced_leaves_the_optimizer_with_the_old_one(tmp_path, joins):
    model = Model()
    optimizer = trainable(model)

    def replace():
        model.head = nn.Linear(8, 8, bias=False)
        if joins:
            optimizer.add_param_group({"params": list(model.head.parameters())})

    found, _ = run(tmp_path / "run", model, optimizer, at=(4, replace))
    assert ({("EG009", "head.weight", "warning", 4)} <= found) != joins
    assert not {code for code, *_ in found} & {"EG003", "EG005", "EG006"}


@pytest.mark.parametrize("late", [False, True])
def test_parameters_made_anew_after_the_optimizer_are_in_none(tmp_path, late):
    model = Model()
    optimizer = None if late else trainable(model)
    for module in (model.encoder, model.head):
        module.weight = nn.Parameter(module.weight.detach().clone())
    model.encoder.bias = nn.Parameter(torch.zeros(8))
    found, _ = run(tmp_path / "run", model, optimizer or trainable(model))
    assert (("EG009", "", "critical", None) in found) != late
    if late:
        assert found == set()


@pytest.mark.parametrize("again", [False, True])
def test_tied_weights_that_come_apart_are_two(tmp_path, again):
    model = Model()
    model.head.weight = model.encoder.weight
    optimizer = trainable(model)

    def resize():
        model.encoder.weight = nn.Parameter(model.encoder.weight.detach().clone())
        optimizer.add_param_group({"params": [model.encoder.weight]})
        if again:
            model.head.weight = model.encoder.weight

    found, sites = run(tmp_path / "run", model, optimizer, at=(5, resize))
    assert ("EG010" in {code for code, *_ in found}) != again
    assert sites["encoder.weight"].replaced_since == 5


def test_freezing_on_the_way_is_a_fact(tmp_path):
    model = Model()
    found, sites = run(tmp_path / "run", model, trainable(model), at=(6, lambda: model.encoder.requires_grad_(False)))
    assert found == {("EG011", "encoder", "info", 6)}
    assert sites["encoder.weight"].coverage in (Coverage.FROZEN, Coverage.HELD_FROZEN)


@pytest.mark.parametrize("until", [8, 99])
def test_gradients_that_are_taken_away_before_the_step_are_cut_off_by_nobody(tmp_path, until):
    """The last layer of DINO is held still for an epoch by setting its gradients to None."""
    model = Model()

    def cancel(step):
        if step < until:
            model.head.weight.grad = None

    found, sites = run(tmp_path / "run", model, trainable(model), after_backward=cancel)
    assert found == set()
    assert sites["head.weight"].coverage is (Coverage.OBSERVED if until == 8 else Coverage.GRADIENT_TAKEN_AWAY)


@pytest.mark.parametrize(("is_left", "told"), [(True, set()), (False, {"EG003"})])
def test_a_gradient_that_is_left_from_before_the_watch_is_none(tmp_path, is_left, told):
    teacher, student = nn.Linear(4, 4), nn.Linear(4, 4)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    teacher(torch.randn(8, 4)).square().mean().backward()
    with eg.watch(out=tmp_path, rules=["EG003"]):
        for _ in range(6):
            x = torch.randn(8, 4)
            with torch.set_grad_enabled(not is_left):
                target = teacher(x)
            optimizer.zero_grad()
            (student(x) - target).square().mean().backward()
            optimizer.step()
    with eg.load(tmp_path) as run:
        assert {finding.code for finding in run.findings} == told
