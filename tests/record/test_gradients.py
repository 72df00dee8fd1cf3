"""Gradients and weights: scaled, clipped, sparse, in half precision."""

import math

import pytest
import torch
from torch import nn

from tests.helpers.loops import Pair, Two, batch, clip, clip_loss, plain, record, sides


def test_a_scaled_loss_and_its_gradients_are_recorded_unscaled():
    (_, losses), got, _ = record(lambda: plain(scaler=torch.amp.GradScaler("cpu", init_scale=1024.0)))
    _, expected, _ = record(plain)
    for one, other, loss in zip(got, expected, losses, strict=True):
        assert one["", "loss/total"][0] == pytest.approx(loss, rel=1e-6)
        assert one["", "loss/chance"][0] == pytest.approx(math.log(6), rel=1e-6)
        for signal in ("gradient/norm", "loss/explained"):
            assert one["", signal][0] == pytest.approx(other["", signal][0], rel=1e-5)


@pytest.mark.parametrize("unscaled", [True, False])
def test_clipping_before_the_scaler_has_unscaled_is_told(unscaled):
    def loop():
        model, scaler = Pair(), torch.amp.GradScaler("cpu", init_scale=1024.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            scaler.scale(clip_loss(*model(*batch(step)))).backward()
            if unscaled:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()

    _, got, _ = record(loop)
    assert [("", "gradient/clipped_scaled") in window for window in got] == [not unscaled] * 3
    assert got[2]["", "gradient/norm_clipped"][0] <= 0.5 / (1 if unscaled else 1023)


def test_weights_in_half_precision_tell_what_a_step_leaves():
    def loop(dtype, lr):
        model = nn.Linear(64, 64).to(dtype)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        model(torch.ones(2, 64, dtype=dtype)).float().mean().backward()
        optimizer.step()

    _, (tiny,), _ = record(lambda: loop(torch.bfloat16, 1e-6))
    _, (usual,), _ = record(lambda: loop(torch.bfloat16, 10.0))
    _, (full,), _ = record(lambda: loop(torch.float32, 1e-6))
    assert tiny["weight", "update/rounded_away"][0] > 0.9 > 0.1 > usual["weight", "update/rounded_away"][0]
    assert ("weight", "update/rounded_away") not in full


def test_mixed_dtypes_are_clipped_by_one_factor():
    def loop():
        model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3).double()})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.ones(2, 3)
        (model["a"](x).square().sum() + model["b"](x.double()).square().sum()).backward()
        total = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return float(total)

    total, got, _ = record(loop)
    assert got[0]["", "gradient/norm_clipped"][0] == pytest.approx(0.5, rel=1e-4)
    assert got[0]["", "gradient/norm"][0] == pytest.approx(total, rel=1e-4)


def test_gradients_clipped_one_by_one_are_seen_too():
    def loop():
        model = nn.Linear(3, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        (100 * model(torch.ones(2, 3)).square().sum()).backward()
        total = nn.utils.clip_grad_norm_(model.parameters(), 0.5, foreach=False)
        optimizer.step()
        return float(total)

    total, got, _ = record(loop)
    assert got[0]["", "gradient/norm"][0] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("cleared", ["in place", "never"])
def test_clipping_of_earlier_steps_is_not_counted_again(cleared):
    def loop():
        model, totals = nn.Linear(3, 3), []
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(4):
            if cleared == "in place":
                optimizer.zero_grad(set_to_none=False)
            (100 * model(torch.ones(2, 3)).square().sum()).backward()
            totals.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
            optimizer.step()
        return totals

    totals, got, _ = record(loop)
    assert [window["", "gradient/norm"][0] for window in got] == pytest.approx(totals, rel=1e-4)


def test_sparse_gradients_have_a_norm():
    def loop():
        table = nn.Embedding(10, 4, sparse=True)
        optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
        table(torch.tensor([1, 1, 3])).square().sum().backward()
        optimizer.step()
        return float(table.weight.grad.to_dense().norm())

    norm, got, _ = record(loop)
    assert got[0]["weight", "gradient/norm"][0] == pytest.approx(norm, rel=1e-5)
    assert got[0]["weight", "update/ratio"][0] > 0


def test_towers_that_are_clipped_apart_have_factors_of_their_own():
    def loop():
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        clip(*model(*sides())).backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        nn.utils.clip_grad_norm_(model.image.parameters(), 100.0)
        nn.utils.clip_grad_norm_(model.text.parameters(), 1e-3)
        optimizer.step()
        return float(norm)

    norm, got, _ = record(loop)
    assert got[0]["", "gradient/norm"][0] == pytest.approx(norm, rel=1e-4)
    assert got[0]["", "gradient/clip_factor"][0] < 1


def test_norms_are_those_over_all_optimizers_of_the_same_step():
    def loop():
        model, norms = Two(), []
        first, second = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model.image, model.text))
        for _ in range(3):
            (1000 * clip(*model(*sides()))).backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1e-2)))
            first.step()
            second.step()
            first.zero_grad()
            second.zero_grad()
        return norms

    norms, got, windows = record(loop)
    assert [window.step for window in windows] == [0, 1, 2]
    for norm, window in zip(norms, got, strict=True):
        assert window["", "gradient/norm"][0] == pytest.approx(norm, rel=1e-4)
        assert window["", "gradient/norm_clipped"][0] == pytest.approx(1e-2, rel=1e-3)
        of_each = [window[f"optimizer{number}", "gradient/norm"][0] ** 2 for number in (0, 1)]
        assert sum(of_each) == pytest.approx(norm**2, rel=1e-3)


def test_a_wrapper_that_steps_with_the_same_parameters_counts_them_once():
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner):
            super().__init__(inner.param_groups, {})
            self.inner = inner

        def step(self):
            self.inner.step()

    def loop():
        model, norms = Two(), []
        optimizer = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        for _ in range(3):
            clip(*model(*sides())).backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1e9)))
            optimizer.step()
            optimizer.zero_grad()
        return norms

    norms, got, windows = record(loop)
    assert [window.step for window in windows] == [0, 1, 2]
    assert [w["", "gradient/norm"][0] for w in got] == pytest.approx(norms, rel=1e-4)


def test_optimizers_that_step_inside_of_the_backward_pass_share_its_window():
    def loop():
        model, norms = Two(), []
        optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

        def step(parameter):
            norms.append(float(parameter.grad.norm()))
            optimizers[parameter].step()
            optimizers[parameter].zero_grad()

        for parameter in optimizers:
            parameter.register_post_accumulate_grad_hook(step)
        for _ in range(3):
            clip(*model(*sides())).backward()
        return norms

    norms, got, windows = record(loop)
    assert [window.step for window in windows] == [0, 1, 2]
    for step, window in enumerate(got):
        norm = torch.tensor(norms[4 * step : 4 * step + 4]).norm()
        assert window["", "gradient/norm"][0] == pytest.approx(float(norm), rel=1e-4)
        assert sum(signal == "update/ratio" for _, signal in window) == 4


def test_a_discriminator_and_a_generator_keep_their_windows():
    def loop():
        models = [nn.Linear(3, 3), nn.Linear(3, 3)]
        critic, generator = (torch.optim.SGD(m.parameters(), lr=0.1) for m in models)
        for _ in range(3):
            models[0](models[1](torch.randn(4, 3)).detach()).sum().backward()
            critic.step()
            models[0](models[1](torch.randn(4, 3))).sum().backward()
            generator.step()

    _, _, windows = record(loop)
    assert [window.step for window in windows] == [0, 1, 2]


def test_half_precision_gradients_do_not_overflow_in_their_norm():
    def loop():
        weight = nn.Parameter(torch.zeros(256, 256, dtype=torch.float16))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        weight.grad = torch.full_like(weight, 3000.0)
        optimizer.step()

    _, got, _ = record(loop)
    assert got[0]["", "gradient/norm"][0] == pytest.approx(768_000, rel=1e-4)
    assert got[0]["unnamed", "gradient/nonfinite"] == (0.0,)
