"""Gradients are clipped, left or cleared as if the program did so, bit by bit."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import SGD, AdamW

from edgeglass_diag.intervention import Intervention
from tests.helpers.interventions import placed, placed_all, same, train


def adamw(model):
    return AdamW(model.parameters(), 0.05)


def clipped(norm):
    return lambda model: clip_grad_norm_(model.parameters(), norm)


def test_gradients_that_are_never_cleared_are():
    weight = torch.nn.Parameter(torch.ones(2))

    def descend(*, clear):
        with torch.no_grad():
            weight.fill_(1.0)
        weight.grad = None
        optimizer = SGD([weight], 0.1)
        for _ in range(4):
            if clear:
                optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
        return [weight.detach().clone()]

    healthy = descend(clear=True)
    assert not same(descend(clear=False), healthy)
    with placed("optimizer.clear_gradients") as means:
        assert same(descend(clear=False), healthy)
        assert same(descend(clear=True), healthy)
    assert means.applied == 8


def test_gradients_are_clipped_as_the_program_would():
    healthy = train(adamw, before_step=clipped(0.1))
    assert not same(train(adamw), healthy)
    with placed("optimizer.clip", 0.1) as means:
        assert same(train(adamw), healthy)
    assert means.applied == 6
    with placed("optimizer.clip", 1e6) as means:
        assert same(train(adamw), train(adamw, before_step=clipped(1e6)))
    assert means.applied == 0


@pytest.mark.parametrize("keyword", [False, True])
def test_gradients_of_a_closure_are_clipped_as_it_has_computed_them(keyword):
    weight = torch.nn.Parameter(torch.ones(1))

    def closure():
        weight.grad = torch.full((1,), 5.0)
        return weight.sum()

    optimizer = SGD([weight], lr=1.0)
    with placed("optimizer.clip", 1.0) as means:
        optimizer.step(closure=closure) if keyword else optimizer.step(closure)
    torch.testing.assert_close(weight.detach(), torch.zeros(1))
    assert means.applied == 1


def test_each_gradient_of_a_line_search_is_clipped():
    def search(*, clip):
        weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
        optimizer = torch.optim.LBFGS([weight], lr=1.0, max_iter=4)

        def closure():
            optimizer.zero_grad()
            loss = weight.pow(4).sum()
            loss.backward()
            if clip:
                clip_grad_norm_([weight], 1.0)
            return loss

        optimizer.step(closure)
        return [weight.detach()]

    healthy = search(clip=True)
    assert not same(search(clip=False), healthy)
    with placed("optimizer.clip", 1.0) as means:
        assert same(search(clip=False), healthy)
    assert means.applied > 1


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_that_carry_the_factor_of_mixed_precision_are_clipped_without_it(fused):
    def descend(*, clip, scale):
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = SGD([weight], lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale(10 * weight.square().sum()).backward()
            if clip:
                scaler.unscale_(optimizer)
                clip_grad_norm_([weight], 1.0)
            scaler.step(optimizer)
            scaler.update()
        return weight.detach()

    healthy = descend(clip=True, scale=1024.0)
    with placed("optimizer.clip", 1.0) as means:
        torch.testing.assert_close(descend(clip=False, scale=1024.0), healthy)
    assert means.applied == 3


UNCLIPPED = [
    lambda m: clip_grad_norm_(m.parameters(), 1e-3),
    lambda m: clip_grad_norm_(m.parameters(), 1e-3, foreach=False, error_if_nonfinite=True),
    lambda m: torch.nn.utils.clip_grad.clip_grad_norm_(list(m.parameters()), max_norm=1e-3),
    lambda m: torch.nn.utils.clip_grads_with_norm_(m.parameters(), 1e-3, total_norm=torch.tensor(1.0)),
    lambda m: torch.nn.utils.clip_grad_value_(m.parameters(), clip_value=1e-5),
]


@pytest.mark.parametrize("clip", UNCLIPPED)
def test_gradients_are_left_as_they_are_where_the_program_clips_them(clip):
    healthy = train(adamw)
    assert not same(train(adamw, before_step=clip), healthy)
    with placed("optimizer.unclipped") as means:
        assert same(train(adamw, before_step=clip), healthy)
    assert means.applied == 6


@pytest.mark.parametrize("clip", [lambda m: None, clipped(1e6), lambda m: clip_grad_value_(m.parameters(), 1e6)])
def test_clipping_that_changes_nothing_is_not_taken_away(clip):
    with placed("optimizer.unclipped") as means:
        train(adamw, before_step=clip)
    assert means.applied == 0


def test_a_program_gets_the_norm_of_gradients_that_are_not_clipped():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    with placed("optimizer.unclipped"):
        assert clip_grad_norm_(weight, 1.0) == 5.0
    assert weight.grad.tolist() == [3.0, 4.0]


def test_other_clipping_takes_the_place_of_the_programs():
    healthy = train(adamw, before_step=clipped(0.5))
    with placed_all(Intervention("optimizer.unclipped"), Intervention("optimizer.clip", 0.5)):
        assert same(train(adamw, before_step=clipped(1e-3)), healthy)
