"""Ways in which training loops differ: closures, scalers, checkpointing, accumulation; each seen as it is."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.loops import Pair, batch, clip_loss, plain, record


def test_a_step_that_the_scaler_skips_ends_its_window_and_is_counted():
    def loop():
        model, scaler = Pair(), torch.amp.GradScaler("cpu", init_scale=4.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            scaler.scale(clip_loss(*model(*batch(step)))).backward()
            if step == 1:
                model.mix.weight.grad[0, 0] = math.inf
            scaler.step(optimizer)
            scaler.update()

    _, got, windows = record(loop)
    assert [w.step for w in windows] == [0, 1, 2]
    assert [("", "optimizer/skipped") in window for window in got] == [False, True, False]
    assert ("mix.weight", "update/ratio") not in got[1]
    assert got[2]["", "loss/chance"][0] == pytest.approx(math.log(6), rel=1e-6)


def test_dropout_is_told_where_it_acts():
    class Dropped(Pair):
        def attend(self, x):
            return F.scaled_dot_product_attention(F.dropout(x, self.dropout), x, x, None, 0.3)

    _, (acts,), _ = record(lambda: plain(1, model=Dropped(dropout=0.9)))
    _, (idle,), _ = record(lambda: plain(1))
    assert [v for (_, signal), values in acts.items() if signal == "dropout/p" for v in values] != []
    assert not any(signal == "dropout/p" for _, signal in idle)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_closure_is_seen_as_the_same_steps_without_one(optimizer):
    _, expected, _ = record(lambda: plain(optimizer=optimizer))
    _, got, _ = record(lambda: plain(optimizer=optimizer, closure=True))
    assert [set(w) for w in got] == [set(w) for w in expected]
    for one, other in zip(got, expected, strict=True):
        for key, value in other.items():
            assert one[key] == pytest.approx(value, rel=1e-6, nan_ok=True), key


def test_lbfgs_calls_its_closure_often_and_steps_once():
    (_, losses), got, _ = record(lambda: plain(2, optimizer=torch.optim.LBFGS, closure=True))
    assert len(losses) > 2
    assert len(got) == 2
    assert got[0]["", "loss/total"][0] == pytest.approx(losses[0], rel=1e-6)


def test_an_optimizer_that_calls_super_step_steps_once():
    class Mine(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    _, got, windows = record(lambda: plain(3, optimizer=Mine))
    _, expected, _ = record(lambda: plain(3))
    assert [w.step for w in windows] == [0, 1, 2]
    assert got == expected


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_modules_are_seen_once_and_right(reentrant):
    _, expected, _ = record(lambda: plain(model=Pair()))
    _, got, _ = record(lambda: plain(model=Pair(checkpointing=reentrant)))
    for one, other in zip(got, expected, strict=True):
        assert set(one) == set(other)
        for key in [("attention", "attention/entropy"), ("mix", "activation/rms"), ("", "loss/total")]:
            assert one[key] == pytest.approx(other[key], rel=1e-5), key


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_training_is_bit_identical(reentrant):
    def run():
        torch.manual_seed(0)
        return plain(3, model=Pair(checkpointing=reentrant, dropout=0.3))

    unwatched, expected = run()
    (watched, losses), _, _ = record(run)
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), unwatched.parameters(), strict=True))


def test_a_backward_pass_begun_by_function_is_seen():
    def loop():
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = model(torch.ones(2, 3)).square().mean()
        torch.autograd.backward([loss])
        optimizer.step()
        return float(loss.detach())

    loss, got, _ = record(loop)
    assert got[0]["", "loss/total"] == (pytest.approx(loss),)
