"""Of several backward passes to a step: which gradients are lost, and which are used."""

import copy

import pytest
import torch
from torch import nn

from tests.helpers.loops import Pair, batch, clip_loss, record

STEPS, PASSES = 5, 3


def signal(name, training):
    """A signal of each window that tells it, of a training that is called with model and optimizer."""

    def loop():
        model = Pair()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(STEPS):
            training(model, optimizer, [batch(PASSES * step + i) for i in range(PASSES)])

    return [w["", name][0] for w in record(loop)[1] if ("", name) in w]


def cleared_for_each_batch(model, optimizer, batches):
    for given in batches:
        optimizer.zero_grad()
        clip_loss(*model(*given)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()


def cleared_by_zeros_behind_each_batch(model, optimizer, batches):
    for given in batches:
        clip_loss(*model(*given)).backward()
        if given is batches[-1]:
            optimizer.step()
        optimizer.zero_grad(set_to_none=False)


def cleared_once_too_often(model, optimizer, batches):
    for number, given in enumerate(batches):
        clip_loss(*model(*given)).backward()
        if number == 0:
            optimizer.zero_grad()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize(
    ("training", "share"),
    [(cleared_for_each_batch, 1.0), (cleared_by_zeros_behind_each_batch, 1.0), (cleared_once_too_often, 0.5)],
)
def test_gradients_of_earlier_batches_are_lost(training, share):
    assert signal("gradient/dropped", training) == [share] * (STEPS - 1)


def accumulated(model, optimizer, batches):
    for given in batches:
        clip_loss(*model(*given)).backward()
    optimizer.step()
    optimizer.zero_grad()


def tried_before_it_is_taken(model, optimizer, batches):
    """SAM, each of whose passes has a batch of its own (m-SAM); ``.data`` hides the move from autograd's versions."""
    weights = copy.deepcopy(model.state_dict())
    clip_loss(*model(*batches[0])).backward()
    for parameter in model.parameters():
        parameter.data.add_(parameter.grad, alpha=0.05)
    optimizer.zero_grad()
    clip_loss(*model(*batches[1])).backward()
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
    optimizer.step()
    optimizer.zero_grad()


def attacked(model, optimizer, batches):
    """A perturbation of the images that makes the loss larger, found by its gradient."""
    images, texts = batches[0]
    perturbation = torch.zeros_like(images, requires_grad=True)
    for _ in range(2):
        clip_loss(*model(images + perturbation, texts)).backward()
        perturbation.data.add_(perturbation.grad.sign(), alpha=0.01)
    optimizer.zero_grad()
    clip_loss(*model(images + perturbation.detach(), texts)).backward()
    optimizer.step()
    optimizer.zero_grad()


def smoothed(model, optimizer, batches):
    """Virtual adversarial training: a direction from one batch, inside of the model, a step from another batch."""
    direction = torch.zeros(18, 8, requires_grad=True)
    hook = model.image.register_forward_hook(lambda module, given, result: result + direction)
    clip_loss(*model(*batches[0])).backward()
    hook.remove()
    assert direction.grad.abs().sum() > 0
    optimizer.zero_grad()
    clip_loss(*model(*batches[1])).backward()
    optimizer.step()
    optimizer.zero_grad()


def put_together_by_hand(model, optimizer, batches):
    """Each batch is a task; their gradients are summed up outside of ``.grad``."""
    tasks = []
    for given in batches:
        optimizer.zero_grad()
        clip_loss(*model(*given)).backward()
        tasks.append([p.grad.clone() for p in model.parameters()])
    for parameter, *gradients in zip(model.parameters(), *tasks, strict=True):
        parameter.grad = torch.stack(gradients).sum(0)
    optimizer.step()


def two_losses_of_a_batch(model, optimizer, batches):
    """The gradient of one is looked at alone before both go back."""
    first = clip_loss(*model(*batches[0]))
    first.backward(retain_graph=True)
    optimizer.zero_grad()
    (first + model(*batches[0])[0].square().mean()).backward()
    optimizer.step()


def measured(model, optimizer, batches):
    """A noise scale: the length of a small batch's gradient, which is then thrown away."""
    clip_loss(*model(*batches[0])).backward()
    assert sum(float(p.grad.square().sum()) for p in model.parameters()) > 0
    optimizer.zero_grad()
    clip_loss(*model(*batches[1])).backward()
    optimizer.step()
    optimizer.zero_grad()


def one_batch(model, optimizer, batches):
    clip_loss(*model(*batches[0])).backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize(
    "training",
    [
        measured,
        one_batch,
        accumulated,
        tried_before_it_is_taken,
        attacked,
        smoothed,
        put_together_by_hand,
        two_losses_of_a_batch,
    ],
)
def test_gradients_that_are_used_are_not_lost(training):
    values = signal("gradient/dropped", training)
    assert values == [0.0] * (STEPS - 1)


def test_what_another_optimizer_has_used_is_not_lost():
    def loop():
        critic, maker = nn.Linear(6, 8), nn.Linear(5, 6)
        of_critic, of_maker = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (critic, maker))
        for step in range(STEPS):
            images, texts = batch(step)
            of_critic.zero_grad()
            critic(images[:6]).mean().backward()
            of_critic.step()
            of_maker.zero_grad()
            critic(maker(texts)).mean().backward()
            of_maker.step()

    windows = record(loop)[1]
    assert len(windows) >= STEPS
    assert not any(w.get(("", "gradient/dropped"), (0.0,))[0] for w in windows)


def spoilt(*, mended, skipped=False):
    def loop():
        model = Pair()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1.0, enabled=skipped)
        for step in range(STEPS):
            loss = clip_loss(*model(*batch(step)))
            scaler.scale(loss * (torch.nan if step % 2 else 1)).backward()
            if mended:
                for parameter in model.parameters():
                    parameter.grad.nan_to_num_()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    windows = record(loop)[1]
    return [w.get(("", "gradient/made_finite"), (None,))[0] for w in windows[1:]]


def test_gradients_that_are_made_finite_are_seen():
    assert spoilt(mended=True) == [1.0, 0.0, 1.0, 0.0]
    assert spoilt(mended=False) == [0.0, 0.0, 0.0, 0.0]


def left_out(model, optimizer, batches):
    """A batch whose gradients are not finite takes no step."""
    for number, given in enumerate(batches):
        optimizer.zero_grad()
        (clip_loss(*model(*given)) * (1 if number else torch.nan)).backward()
    optimizer.step()


def under_a_large_scale(model, optimizer, batches):
    """Every entry is finite, and its square is not."""
    (clip_loss(*model(*batches[0])) * 2.0**100).backward()
    for parameter in model.parameters():
        parameter.grad.mul_(2.0**-100)
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("training", [left_out, under_a_large_scale])
def test_what_was_never_mended_is_not_made_finite(training):
    assert signal("gradient/made_finite", training) == [0.0] * (STEPS - 1)


def prompted(model, optimizer, batches):
    """Both batches have the texts of all steps; the images differ."""
    cleared_for_each_batch(model, optimizer, [(images, batch(99)[1]) for images, _ in batches])


def test_inputs_that_never_change_tell_nothing_of_the_batch():
    assert signal("gradient/dropped", prompted)[1:] == [1.0] * (STEPS - 2)


def test_steps_that_a_scaler_skips_make_nothing_finite():
    assert spoilt(mended=False, skipped=True) == [None, 0.0, None, 0.0]
