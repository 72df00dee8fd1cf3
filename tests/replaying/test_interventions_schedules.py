"""The learning rate stays what it was at first, as in a program without a scheduler."""

import pytest
import torch
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from tests.helpers.interventions import placed, same, train


def adamw(model):
    return AdamW(model.parameters(), 0.05)


def by_hand(model):
    """A program that sets its learning rate itself before each step, and 0 before the first."""
    optimizer = SGD(model.parameters(), 0.0)
    rates = iter([0.0, 0.1, 0.05, 0.01, 0.0, 0.0])
    optimizer.register_step_pre_hook(lambda o, *_: None)

    class Stepped:
        def step(self):
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.step()

    return Stepped()


def test_schedulers_go_on_and_do_not_matter():
    schedulers = []

    def schedule(optimizer):
        schedulers.append(StepLR(optimizer, 1, 0.1))
        return schedulers[-1]

    healthy = train(adamw)
    assert not same(train(adamw, schedule=schedule), healthy)
    with placed("schedule.constant") as means:
        assert same(train(adamw, schedule=schedule), healthy)
    assert means.applied == 5
    assert schedulers[-1].get_last_lr() == [pytest.approx(0.05 * 0.1**6)]
    with open(means.place.file) as file:
        assert "StepLR(optimizer, 1, 0.1)" in file.read().splitlines()[means.place.line - 1]


@pytest.mark.parametrize("lr", [0.05, torch.tensor(0.05)])
def test_each_group_keeps_its_own(lr):
    def groups(model):
        first, *rest = model.parameters()
        head = {"params": rest, "lr": lr / 5}
        return AdamW([{"params": [first]}, head], lr.clone() if isinstance(lr, torch.Tensor) else lr)

    healthy = train(groups)
    with placed("schedule.constant"):
        assert same(train(groups, schedule=lambda o: StepLR(o, 2, 0.5)), healthy)


def test_a_rate_of_0_before_is_none():
    with placed("schedule.constant") as means:
        changed = train(lambda m: SGD(m.parameters(), 0.1), schedule=lambda o: LambdaLR(o, lambda k: min(k, 1)))
    healthy = train(lambda m: SGD(m.parameters(), 0.1), schedule=lambda o: LambdaLR(o, lambda k: min(k, 1)))
    assert same(changed, healthy)
    assert means.applied == 0
    with placed("schedule.constant") as means:
        assert same(train(by_hand), healthy)
    assert (means.applied, means.place) == (4, None)


def test_a_program_without_a_schedule_is_left_alone():
    with placed("schedule.constant") as means:
        assert same(train(adamw), train(adamw))
    assert means.applied == 0


def test_the_scheduler_of_plateaus_has_a_place_too():
    weight = torch.nn.Parameter(torch.ones(1))
    with placed("schedule.constant") as means:
        optimizer = SGD([weight], 0.1)
        scheduler = ReduceLROnPlateau(optimizer, patience=0)
        for _ in range(3):
            weight.grad = torch.ones(1)
            optimizer.step()
            scheduler.step(1.0)
    assert means.applied > 0
    assert means.place is not None
    torch.testing.assert_close(weight.detach(), torch.tensor([0.7]))
