"""Parameters that no optimizer holds, or that are frozen, learn as if the program had said so."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW

from tests.helpers.interventions import Reader, batches, placed, same, train


def all_but(*names, lr=0.05, **settings):
    def make(model):
        return AdamW([p for name, p in model.named_parameters() if not name.startswith(names)], lr, **settings)

    return make


def all_of(model):
    return AdamW(model.parameters(), 0.05)


def test_what_no_optimizer_holds_learns_as_if_it_did():
    healthy = train(all_of)
    assert not same(train(all_but("head", "latents")), healthy)
    with placed("optimizer.include") as means:
        assert same(train(all_but("head", "latents")), healthy)
    assert means.applied == 3
    with open(means.place.file) as file:
        assert "return AdamW([p for name" in file.read().splitlines()[means.place.line - 1]


def test_a_site_leaves_the_others_out():
    healthy = train(all_but("latents"))
    with placed("optimizer.include", site="head") as means:
        assert same(train(all_but("head", "latents")), healthy)
    assert means.applied == 2


def test_a_program_whose_optimizer_holds_all_is_left_alone():
    with placed("optimizer.include") as means:
        assert same(train(all_of), train(all_of))
    assert means.applied == 0


def test_what_is_frozen_or_has_no_gradient_is_not_put_in():
    def frozen(model):
        model.proj.requires_grad_(False)

    with placed("optimizer.include") as means:
        assert same(train(all_but("proj"), prepare=frozen), train(all_but("proj"), prepare=frozen))
    assert means.applied == 0


def test_a_teacher_is_not_put_in():
    with placed("optimizer.include") as means:
        student, inputs = Reader(), batches(1)[0][0]
        teacher, unused = copy.deepcopy(student), copy.deepcopy(student)
        optimizer = SGD(student.parameters(), 0.1)
        for _ in range(3):
            aim = teacher(inputs).detach()
            with torch.no_grad():
                aim = aim + unused(inputs)
            F.mse_loss(student(inputs), aim).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert means.applied == 0


def by_groups(model):
    """Decayed matrices, the others, and a head with another learning rate; scale and latents are missing."""
    body = [p for name, p in model.named_parameters() if name.startswith(("proj", "norm"))]
    head = list(model.head.parameters())
    return AdamW([
        {"params": [p for p in body if p.dim() > 1]},
        {"params": [p for p in body if p.dim() < 2], "weight_decay": 0.0},
        {"params": head[:1], "lr": 0.2},
    ], 0.05)  # fmt: skip


def test_it_goes_into_the_group_of_its_neighbours_and_of_its_kind():
    made = []

    def kept(model):
        made.append((model, by_groups(model)))
        return made[-1][1]

    with placed("optimizer.include") as means:
        train(kept)
    model, optimizer = made[0]
    held = [{id(p) for p in group["params"]} for group in optimizer.param_groups]
    assert id(model.head.bias) in held[2]
    assert id(model.scale) in held[1]
    assert id(model.latents) in held[0]
    assert means.applied == 3


def test_of_several_optimizers_it_is_that_of_the_neighbours():
    with placed("optimizer.include") as means:
        model, (inputs, labels) = Reader(), batches(1)[0]
        body = SGD([*model.proj.parameters(), *model.norm.parameters(), model.latents, model.scale], 0.1)
        head = SGD([("head.weight", model.head.weight)], 0.3)
        F.cross_entropy(model(inputs), labels).backward()
        before = model.head.bias.detach().clone()
        body.step()
        head.step()
    torch.testing.assert_close(model.head.bias.detach(), before - 0.3 * model.head.bias.grad)
    assert means.applied == 1
    assert head.param_groups[0]["param_names"] == ["head.weight", "head.bias"]


def test_an_optimizer_for_matrices_alone_gets_no_vectors():
    with placed("optimizer.include"):
        model, (inputs, labels) = Reader(), batches(1)[0]
        matrices = torch.optim.Muon([p for p in model.parameters() if p.dim() == 2], lr=0.01)
        vectors = AdamW([model.norm.weight, model.norm.bias, model.proj.bias], 0.01)
        F.cross_entropy(model(inputs), labels).backward()
        matrices.step()
        vectors.step()
    assert all(p.dim() == 2 for p in matrices.param_groups[0]["params"])
    assert any(p is model.head.bias for p in vectors.param_groups[0]["params"])


def test_a_step_with_a_closure_finds_the_gradients_that_it_computes():
    def descend(held):
        torch.manual_seed(0)
        model, (inputs, labels) = Reader().eval(), batches(1)[0]
        optimizer = AdamW(held(model), 0.05)

        def closure():
            model.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        return [p.detach().clone() for p in model.parameters()]

    healthy = descend(lambda m: m.parameters())
    with placed("optimizer.include") as means:
        assert same(descend(lambda m: list(m.parameters())[:-2]), healthy)
    assert means.applied == 2


def test_a_line_search_that_keeps_one_vector_gets_none():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with placed("optimizer.include") as means:
        optimizer = torch.optim.LBFGS(model[0].parameters())

        def closure():
            model.zero_grad()
            loss = model(torch.ones(1, 2)).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        optimizer.step(closure)
    assert means.applied == 0


@pytest.mark.parametrize("held", [all_of, all_but("proj", "norm"), lambda m: AdamW(
    [p for p in m.parameters() if p.requires_grad], 0.05)])  # fmt: skip
def test_what_is_frozen_learns_as_if_it_were_not(held):
    def frozen(model):
        model.proj.requires_grad_(False)
        model.norm.requires_grad_(False)

    healthy = train(lambda m: all_but("norm")(m), prepare=lambda m: m.norm.requires_grad_(False))
    assert not same(train(held, prepare=frozen), healthy)
    with placed("optimizer.unfreeze", site="proj") as means:
        assert same(train(held, prepare=frozen), healthy)
    assert means.applied == 2


def test_what_is_not_frozen_is_left_alone():
    with placed("optimizer.unfreeze", site="proj") as means:
        assert same(train(all_of), train(all_of))
        assert same(train(all_but("proj")), train(all_but("proj")))
    assert means.applied == 0


@pytest.mark.parametrize("clips", [False, True])
def test_gradients_that_carry_the_factor_of_mixed_precision_are_unscaled_with_the_others(clips):
    def descend(held):
        torch.manual_seed(0)
        model, (inputs, labels) = Reader().eval(), batches(1)[0]
        optimizer, scaler = SGD(held(model), 0.05), torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(3):
            model.zero_grad()
            scaler.scale(F.cross_entropy(model(inputs), labels)).backward()
            if clips:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
        return [p.detach().clone() for p in model.parameters()]

    healthy = descend(lambda m: m.parameters())
    with placed("optimizer.include") as means:
        assert same(descend(lambda m: m.proj.parameters()), healthy)
    assert means.applied == 6


def test_a_head_that_was_replaced_after_the_optimizer_was_made_learns():
    def descend(*, late):
        torch.manual_seed(0)
        model, (inputs, labels) = Reader().eval(), batches(1)[0]
        old = list(model.parameters())
        head = nn.Linear(8, 6)
        if not late:
            model.head = head
        optimizer = AdamW(old if late else model.parameters(), 0.05)
        model.head = head
        for _ in range(3):
            model.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        return [p.detach().clone() for p in model.parameters()]

    healthy = descend(late=False)
    assert not same(descend(late=True), healthy)
    with placed("optimizer.include") as means:
        assert same(descend(late=True), healthy)
    assert means.applied == 2
