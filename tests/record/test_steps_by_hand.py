"""Trainings whose weights no optimizer of torch writes to: windows, readings and findings are those of any other."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage

RATE = 0.1


def subtract(model):
    with torch.no_grad():
        for p in model.parameters():
            p -= RATE * p.grad
            p.grad = None


def by_data(model):
    for p in model.parameters():
        p.data.sub_(RATE * p.grad.data)
        p.grad.zero_()


def replace_data(model):
    for p in model.parameters():
        p.data = p.data - RATE * p.grad
    model.zero_grad()


def together(model):
    weights = list(model.parameters())
    with torch.no_grad():
        torch._foreach_add_(weights, [p.grad for p in weights], alpha=-RATE)
    model.zero_grad()


def copy_over(model):
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with torch.no_grad():
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.copy_(p - RATE * gradient)


class Momentum:
    """An optimizer that inherits from nothing."""

    def __init__(self, weights):
        self.weights = [(p, torch.zeros_like(p)) for p in weights]

    @torch.no_grad()
    def step(self):
        for p, velocity in self.weights:
            velocity.mul_(0.9).add_(p.grad)
            p.add_(velocity, alpha=-RATE / 10)
            p.grad = None


UPDATES = (subtract, by_data, replace_data, together, copy_over)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def batch(step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(32, 8, generator=generator)
    return x, (x[:, :2] > 0).long() @ torch.tensor([1, 2])


def fit(model, update, steps=12, *, parts=1, loss_of=F.cross_entropy, evaluate=False):
    losses = []
    for step in range(steps):
        for part in range(parts):
            x, y = batch(parts * step + part)
            loss = loss_of(model(x), y)
            loss.backward()
            losses.append(float(loss.detach()))
        update(model)
        if evaluate:
            with torch.no_grad():
                model(batch(1000)[0])
    return losses


def recorded(loop, schedule=lambda step: True):
    windows = []
    with Recorder(schedule, lambda window: windows.append(window.resolve())) as recorder:
        result = loop()
    return result, windows, recorder.step


def readings(windows):
    return {(r.step, r.site, str(r.signal)): r.values[0] for window in windows for r in window.readings}


@pytest.mark.parametrize("update", UPDATES)
def test_each_update_ends_a_window_and_changes_nothing_of_the_training(update):
    plain = classifier()
    expected = fit(plain, update)
    model = classifier()
    losses, windows, steps = recorded(lambda: fit(model, update))
    assert losses == expected
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), plain.parameters(), strict=True))
    assert steps == 12
    assert [window.step for window in windows] == list(range(12))
    got = readings(windows)
    assert [got[step, "", "loss/total"] for step in range(12)] == pytest.approx(losses)


@pytest.mark.parametrize("update", UPDATES)
def test_gradients_and_updates_are_those_that_an_optimizer_of_torch_has(update):
    def usual():
        model = classifier()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

        def step(_):
            optimizer.step()
            optimizer.zero_grad()

        return fit(model, step, 3)

    expected = readings(recorded(usual)[1])
    got = readings(recorded(lambda: fit(classifier(), update, 3))[1])
    compared = ("update/ratio",) if update is copy_over else ("update/ratio", "gradient/norm")
    for key, value in expected.items():
        if key[2] in compared:
            assert got[key] == pytest.approx(value, rel=1e-4), key
    missing = {signal for _, _, signal in expected.keys() - got.keys()}
    if update is not copy_over:  # gradients that were copied and cleared are not there when it writes
        assert {signal for signal in missing if not signal.startswith("optimizer/")} <= {
            "gradient/cleared",
            "gradient/dropped",
            "gradient/kept",
            "gradient/made_finite",
        }


@pytest.mark.parametrize("update", UPDATES)
def test_steps_are_counted_in_windows_that_are_not_recorded(update):
    _, windows, steps = recorded(lambda: fit(classifier(), update, 30, evaluate=True), lambda step: step % 7 == 0)
    assert steps == 30
    assert [window.step for window in windows] == [0, 7, 14, 21, 28]
    got, expected = readings(windows), fit(classifier(), update, 30)
    for step in (0, 7, 14, 21, 28):
        assert got[step, "", "loss/total"] == pytest.approx(expected[step])
        assert got[step, "0", "activation/rms"] > 0


def test_accumulated_passes_are_one_step():
    losses, windows, steps = recorded(lambda: fit(classifier(), subtract, 8, parts=4))
    assert steps == 8
    assert readings(windows)[3, "", "loss/total"] == pytest.approx(sum(losses[12:16]))


def test_an_optimizer_that_inherits_from_nothing_is_followed():
    model = classifier()
    optimizer = Momentum(model.parameters())
    _, windows, steps = recorded(lambda: fit(model, lambda _: optimizer.step()))
    assert steps == 12
    places = {site.path: site for window in windows for site in window.sites if site.kind == "parameter"}
    assert {site.coverage for site in places.values()} == {Coverage.OBSERVED}
    assert {site.optimizer for site in places.values()} == {None}


def test_what_an_optimizer_would_have_is_said_not_to_be_recorded():
    def coverage(loop):
        return {site.coverage for window in recorded(loop)[1] for site in window.sites}

    by_hand = coverage(lambda: fit(classifier(), subtract, 3))
    assert Coverage.STEPS_BY_HAND in by_hand
    assert Coverage.NO_OPTIMIZER not in by_hand
    assert Coverage.NO_OPTIMIZER in coverage(lambda: fit(classifier(), lambda model: None, 3))


@pytest.mark.parametrize("of_weights", [True, False])
def test_gradients_that_no_weight_holds_are_said_not_to_be_followed(tmp_path, of_weights):
    model = classifier()
    with eg.watch(model, out=tmp_path):
        for step in range(3):
            x, y = batch(step)
            x.requires_grad_()
            weights = list(model.parameters())
            gradients = torch.autograd.grad(F.cross_entropy(model(x), y), weights if of_weights else [x])
            with torch.no_grad():
                for p, gradient in zip(weights, gradients, strict=False):
                    if of_weights:
                        p -= RATE * gradient
    with eg.load(tmp_path) as run:
        assert [finding.code for finding in run.findings] == ["EG906"] * of_weights


def test_weights_that_are_tried_before_an_optimizer_steps_are_no_step():
    def loop():  # SAM
        model = classifier()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        for step in range(4):
            x, y = batch(step)
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                tried = [0.05 * p.grad for p in model.parameters()]
                torch._foreach_add_(list(model.parameters()), tried)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                torch._foreach_sub_(list(model.parameters()), tried)
            optimizer.step()
            optimizer.zero_grad()

    _, windows, steps = recorded(loop)
    assert steps == 4
    assert Coverage.STEPS_BY_HAND not in {site.coverage for window in windows for site in window.sites}


def test_an_optimizer_that_steps_later_takes_over():
    def loop():
        model = classifier()
        fit(model, subtract, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

        def step(_):
            optimizer.step()
            optimizer.zero_grad()
            subtract_nothing(model)

        fit(model, step, 3)

    def subtract_nothing(model):
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.0)

    assert recorded(loop)[2] == 6


def test_two_models_that_are_written_to_in_turn_share_windows():
    def loop():
        critic, maker = classifier(), nn.Linear(4, 8)
        for step in range(5):
            x, y = batch(step)
            F.cross_entropy(critic(x), y).backward()
            subtract(critic)
            critic(maker(x[:, :4])).square().mean().backward()
            critic.zero_grad()
            subtract(maker)

    assert recorded(loop)[2] == 5


def findings(folder, loop):
    with eg.watch(out=folder):
        loop()
    return {finding.code for finding in eg.load(folder).findings}


def test_a_healthy_training_by_hand_has_no_findings(tmp_path):
    for update in UPDATES:
        assert findings(tmp_path / update.__name__, lambda: fit(classifier(), update, 60)) == set()  # noqa: B023


def test_a_loss_of_which_nothing_is_learned_is_named(tmp_path):
    for update in (subtract, by_data, together):
        faulty = lambda: fit(classifier(), update, 60, loss_of=lambda z, y: 0 * F.cross_entropy(z, y))  # noqa: B023, E731
        assert "EG218" in findings(tmp_path / update.__name__, faulty)


def test_gradients_that_are_never_cleared_are_named(tmp_path):
    def keep(model):
        with torch.no_grad():
            for p in model.parameters():
                p -= RATE * p.grad

    assert "EG211" in findings(tmp_path / "kept", lambda: fit(classifier(), keep, 60))
