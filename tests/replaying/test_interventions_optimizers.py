import pytest
import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.replaying.interventions import optimizers, schedules  # noqa: F401
from edgeglass_diag.replaying.interventions.means import means_of


@pytest.fixture(autouse=True)
def hooks_go():
    kept = [(hooks, dict(hooks)) for hooks in (_global_optimizer_pre_hooks, _global_optimizer_post_hooks)]
    yield
    for hooks, before in kept:
        hooks.clear()
        hooks.update(before)


def put(name, value=None):
    wanted = Intervention(name, value)
    means = means_of(wanted)(wanted, None)
    means.attach()
    return means


def train(kind=torch.optim.SGD, steps=4, clear=True, **settings):
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = kind([weight], **settings)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
        scheduler.step()
    return weight.detach().clone(), optimizer.param_groups[0]


def test_the_placebo_is_bit_identical():
    plain, _ = train(torch.optim.AdamW, lr=0.1)
    means = put("optimizer.lr", 1.0)
    assert torch.equal(train(torch.optim.AdamW, lr=0.1)[0], plain)
    assert means.applied == 4


@pytest.mark.parametrize("lr", [10.0, torch.tensor(10.0)])
def test_a_learning_rate_is_scaled_and_schedulers_do_not_notice(lr):
    healthy, _ = train(lr=0.1)
    put("optimizer.lr", 0.01)
    weight, group = train(lr=lr)
    torch.testing.assert_close(weight, healthy)
    assert float(group["lr"]) == 10.0 * 0.5**4


@pytest.mark.parametrize(
    ("name", "setting", "ill", "value"),
    [("weight_decay", "weight_decay", 0.5, 0.0), ("eps", "eps", 1.0, 1e-8), ("beta2", "betas", (0.9, 0.1), 0.999)],
)
def test_a_setting_is_replaced_for_the_step_alone(name, setting, ill, value):
    well = (0.9, value) if setting == "betas" else value
    healthy, _ = train(torch.optim.AdamW, lr=0.1, **{setting: well})
    assert not torch.equal(train(torch.optim.AdamW, lr=0.1, **{setting: ill})[0], healthy)
    put(f"optimizer.{name}", value)
    weight, group = train(torch.optim.AdamW, lr=0.1, **{setting: ill})
    assert torch.equal(weight, healthy)
    assert group[setting] == ill


def test_a_setting_that_an_optimizer_lacks_is_not_applicable():
    means = put("optimizer.eps", 1e-8)
    train(lr=0.1)
    assert means.applied == 0


def test_gradients_that_are_never_cleared_are():
    healthy, _ = train(lr=0.1)
    assert not torch.equal(train(lr=0.1, clear=False)[0], healthy)
    put("optimizer.clear_gradients")
    assert torch.equal(train(lr=0.1, clear=False)[0], healthy)


def test_what_a_step_that_raised_has_left_is_put_back_with_the_next():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    put("optimizer.lr", 0.1)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    weight.square().sum().backward()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.8]))
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_a_warm_up_scales_the_first_steps_alone():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    means, seen = put("optimizer.warmup", 4.0), []
    for _ in range(6):
        weight.grad, before = torch.ones(1), weight.item()
        optimizer.step()
        seen.append(before - weight.item())
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert means.applied == 3
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_gradients_are_clipped_at_the_norm_that_is_asked_for():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    means = put("optimizer.clip", 1.0)
    weight.grad = torch.tensor([30.0, 40.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]))
    assert means.applied == 1


def test_gradients_of_a_closure_are_not_clipped_and_it_says_so():
    weight = torch.nn.Parameter(torch.ones(1))
    means = put("optimizer.clip", 1.0)

    def closure():
        weight.grad = torch.full((1,), 5.0)
        return weight.sum()

    torch.optim.SGD([weight], lr=1.0).step(closure)
    assert weight.item() == -4.0
    assert means.applied == 0
