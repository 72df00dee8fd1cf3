"""Ways in which training loops differ: closures, scalers, checkpointing, several losses; each seen as it is."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from edgeglass_diag.measures.chance import binary_entropy
from edgeglass_diag.record import Recorder


class Pair(nn.Module):
    """Two linear sides and an attention between."""

    def __init__(self, checkpointing=None, dropout=0.0):
        super().__init__()
        self.image, self.text, self.mix = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(8, 8)
        self.checkpointing, self.dropout = checkpointing, dropout

    def attend(self, x):
        q = F.dropout(self.mix(x), self.dropout)
        return F.scaled_dot_product_attention(q, x, x)

    def forward(self, images, texts):
        tokens = self.image(images).unflatten(0, (-1, 3))
        if self.checkpointing is None:
            mixed = self.attend(tokens)
        else:
            mixed = checkpoint(self.attend, tokens, use_reentrant=self.checkpointing)
        return F.normalize(mixed.mean(1), dim=-1), F.normalize(self.text(texts), dim=-1)


def batch(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3 * size, 6, generator=generator), torch.randn(size, 5, generator=generator)


def clip_loss(image, text, scale=10.0):
    logits = scale * image @ text.T
    labels = torch.arange(len(logits))
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))


def values(window):
    return {(r.site, r.signal): r.values for r in window.readings}


def record(loop, every=1):
    windows = []
    torch.manual_seed(0)
    with Recorder(lambda step: step % every == 0, lambda w: windows.append(w.resolve())):
        result = loop()
    failed = [s for w in windows for s in w.sites if s.status.startswith("recorder failed")]
    assert failed == []
    return result, [values(w) for w in windows], windows


def plain(steps=2, *, model=None, loss_of=clip_loss, optimizer=torch.optim.SGD, scaler=None, closure=False):
    model = model or Pair()
    opt = optimizer(model.parameters(), lr=0.1)
    losses = []
    for step in range(steps):

        def compute(step=step):
            opt.zero_grad()
            loss = loss_of(*model(*batch(step)))
            (loss if scaler is None else scaler.scale(loss)).backward()
            losses.append(float(loss.detach()))
            return loss

        if closure:
            opt.step(compute)
            continue
        compute()
        if scaler is None:
            opt.step()
        else:
            scaler.step(opt)
            scaler.update()
    return model, losses


def test_a_scaled_loss_and_its_gradients_are_recorded_unscaled():
    (_, losses), got, _ = record(lambda: plain(scaler=torch.amp.GradScaler("cpu", init_scale=1024.0)))
    _, expected, _ = record(plain)
    for one, other, loss in zip(got, expected, losses, strict=True):
        assert one["", "loss/total"][0] == pytest.approx(loss, rel=1e-6)
        assert one["", "loss/chance"][0] == pytest.approx(math.log(6), rel=1e-6)
        for signal in ("gradient/norm", "loss/explained"):
            assert one["", signal][0] == pytest.approx(other["", signal][0], rel=1e-5)


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
    assert tiny["weight", "update/unmoved"][0] > 0.9 > 0.1 > usual["weight", "update/unmoved"][0]
    assert ("weight", "update/unmoved") not in full


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


def siglip(image, text):
    logits = 10.0 * image @ text.T - 10.0
    return -F.logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)


def siglip_as_bce(image, text):
    logits = 10.0 * image @ text.T - 10.0
    return F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)), reduction="sum") / len(logits)


@pytest.mark.parametrize("loss_of", [siglip, siglip_as_bce])
def test_sigmoid_losses_have_a_chance_level_and_embeddings(loss_of):
    (_, losses), got, _ = record(lambda: plain(1, loss_of=loss_of))
    assert got[0]["", "loss/explained"][0] == pytest.approx(losses[0], rel=1e-5)
    assert got[0]["", "loss/chance"][0] == pytest.approx(6 * binary_entropy(1 / 6), rel=1e-5)
    scale = next(v for (_, signal), v in got[0].items() if signal == "embedding/scale")
    if loss_of is siglip_as_bce:  # the other multiplies by its labels before the loss
        assert scale[0] == pytest.approx(10.0, rel=1e-4)


def test_nll_of_a_log_softmax_is_a_cross_entropy():
    def loss_of(image, text):
        return F.nll_loss(F.log_softmax(10.0 * image @ text.T, dim=-1), torch.arange(len(image)))

    (_, losses), got, _ = record(lambda: plain(1, loss_of=loss_of))
    assert got[0]["", "loss/explained"][0] == pytest.approx(losses[0], rel=1e-6)
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(6))
    assert next(v for (_, s), v in got[0].items() if s == "embedding/scale")[0] == pytest.approx(10.0, rel=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ignored_targets_count_neither_as_rows_nor_as_errors(reduction):
    target = torch.tensor([0, -100, 2, -100])

    def loop():
        weight = nn.Parameter(torch.eye(4) * 5)
        optimizer = torch.optim.SGD([weight], lr=0.1)
        loss = F.cross_entropy(weight * 1.0, target, reduction=reduction)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    loss, got, _ = record(loop)
    assert got[0]["cross_entropy", "loss/accuracy"] == (1.0,)
    assert got[0]["cross_entropy", "loss/rows"] == (2.0,)
    assert got[0]["cross_entropy", "loss/value"][0] == pytest.approx(loss / (2 if reduction == "sum" else 1))
    assert got[0]["", "loss/chance"][0] == pytest.approx(math.log(4) * (2 if reduction == "sum" else 1))


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


class Odd(nn.Module):
    """A scalar parameter, a shared module, keywords only, a module without tensors, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.shared, self.unused, self.empty = nn.Linear(3, 3), nn.Linear(3, 3), NoTensors()
        self.twice = nn.ModuleList([self.shared, self.shared])

    def forward(self, *, x, flag=None):
        self.empty("text", None)
        for layer in self.twice:
            x = layer(input=x)
        return {"out": (self.scale * x, None)}


class NoTensors(nn.Module):
    def forward(self, text, nothing):
        return text


def test_odd_models_are_observed_and_what_is_not_called_is_named():
    def loop():
        model = Odd()
        optimizer = torch.optim.SGD([p for n, p in model.named_parameters() if n != "scale"], lr=0.1)
        model(x=torch.ones(2, 3))["out"][0].square().sum().backward()
        optimizer.step()

    _, got, windows = record(loop)
    status = {(s.path, s.kind): s.status for s in windows[0].sites}
    assert ("shared", "activation/rms") in got[0]
    assert ("shared#1", "activation/rms") in got[0]
    assert status["empty", "module"] == "observed"
    assert status["unused", "module"] == "not called with gradients in the recorded windows"
    assert status["unused.weight", "parameter"] == "held by an optimizer, but without gradient"
    assert status["scale", "parameter"] == "trainable and given a gradient, but held by no optimizer that has stepped"
    assert status["x", "data"] == "observed"


def test_a_loop_that_never_steps_fills_no_memory():
    model = nn.Linear(2, 2)
    recorder = Recorder(lambda step: True, lambda w: None)
    sizes = []
    with recorder:
        for _ in range(600):
            model(torch.ones(2, 2)).sum().backward()
            sizes.append(sum(len(e.values) for e in recorder._session.buffer._entries.values()))
    assert max(sizes) < 5000


def test_batches_leave_fingerprints_and_repeats_are_seen():
    def loop():
        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        one = torch.arange(12.0).reshape(3, 4)
        for x in (one, one + 1, one, torch.ones(3, 4)):
            model(x).sum().backward()
            optimizer.step()

    _, got, _ = record(loop)
    first, second, third, fourth = (w["input0", "data/fingerprint"][0] for w in got)
    assert first == third != second
    assert fourth not in (first, second)
    assert [w["input0", "data/repeated"][0] for w in got] == [0, 0, 0, pytest.approx(2 / 3)]
    assert got[0]["input0", "data/mean"][0] == pytest.approx(5.5)


def test_padding_and_full_texts_of_token_batches():
    def loop():
        table = nn.Embedding(10, 4)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
        table(torch.tensor([[5, 6, 0, 0], [7, 8, 9, 0], [1, 2, 3, 4], [2, 0, 0, 0]])).sum().backward()
        optimizer.step()

    _, got, _ = record(loop)
    assert got[0]["input0", "data/padding"][0] == pytest.approx((2 + 3) / 16)
    assert got[0]["input0", "data/unpadded_texts"][0] == 0.5


def test_a_frozen_tower_called_on_its_own_is_named_as_not_recorded_and_does_not_use_up_the_window():
    def loop():
        tower, head = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        for _ in range(2):
            for _ in range(300):
                with torch.no_grad():
                    features = tower(torch.ones(3, 4))
            head(features).square().sum().backward()
            optimizer.step()

    _, got, windows = record(loop)
    assert all(("", "activation/rms") in window for window in got)
    status = {s.path: s.status for s in windows[0].sites if s.kind == "module"}
    assert status == {"": "observed"} | dict.fromkeys(
        ("Sequential", "Sequential.0", "Sequential.1"), "not called with gradients in the recorded windows"
    )
