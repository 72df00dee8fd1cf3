"""What the recorder sees of plain torch code, and that it leaves no trace."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.measures.attention import attention_statistics
from edgeglass_diag.record import Recorder
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.sites import Coverage


class Tiny(nn.Module):
    """Two sides, an attention each way of writing it, a contrastive loss."""

    def __init__(self, kind="fused", dropout=0.0):
        super().__init__()
        self.kind = kind
        self.image = nn.Linear(6, 8)
        self.text = nn.Linear(5, 8)
        self.drop = nn.Dropout(dropout)
        self.mha = nn.MultiheadAttention(8, 2, batch_first=True)
        self.captured = {}

    def mix(self, x):
        split = x.unflatten(-1, (2, 4)).transpose(1, 2)
        if self.kind == "fused":
            return F.scaled_dot_product_attention(split, split, split).transpose(1, 2).flatten(2)
        if self.kind == "explicit":
            weights = (split @ split.mT / 2).softmax(-1)
            return (weights @ split).transpose(1, 2).flatten(2)
        return self.mha(x, x, x, need_weights=self.kind == "mha_weights")[0]

    def forward(self, images, texts):
        tokens = self.drop(self.image(images))
        self.captured["tokens"] = tokens.detach()
        return self.mix(tokens).mean(1), self.text(texts)


def loss_of(model, batch, scale=10.0):
    image, text = (F.normalize(side, dim=-1) for side in model(*batch))
    logits = scale * image @ text.T
    labels = torch.arange(len(logits))
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))


def batch_of(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, 6, generator=generator), torch.randn(size, 5, generator=generator)


def train(steps=3, *, kind="fused", dropout=0.0, watch=True, every=1, accumulate=1, max_norm=None, autocast=False):
    windows = []
    torch.manual_seed(0)

    def loop():
        model = Tiny(kind, dropout)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for step in range(steps):
            for micro in range(accumulate):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                    loss = loss_of(model, batch_of(10 * step + micro)) / accumulate
                loss.backward()
                losses.append(loss.detach())
            if max_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            optimizer.zero_grad()
        return model, losses

    if not watch:
        return *loop(), windows
    with Recorder(lambda step: step % every == 0, lambda w: windows.append(w.resolve())):
        model, losses = loop()
    return model, losses, windows


def values(window):
    return {(r.site, r.signal): r.values for r in window.readings}


@pytest.mark.parametrize("kind", ["fused", "explicit", "mha", "mha_weights"])
def test_every_way_of_attention_is_seen_and_right(kind):
    _, _, windows = train(1, kind=kind)
    found = {site: v for (site, signal), v in values(windows[0]).items() if signal == "attention/entropy"}
    assert len(found) == 1
    (site,) = found
    assert site.startswith("mha" if kind.startswith("mha") else "attention")
    assert all(0 < entropy <= 1 for entropy in found[site])


def test_fused_attention_equals_the_measure():
    model, _, windows = train(1)
    split = model.captured["tokens"].unflatten(-1, (2, 4)).transpose(1, 2)
    expected = attention_statistics(split, split)
    got = values(windows[0])
    for name in ("logit_mean", "logit_std", "logit_max", "entropy", "top1"):
        assert got["attention", f"attention/{name}"] == pytest.approx(getattr(expected, name).tolist(), abs=1e-5)


def test_a_softmax_that_mixes_nothing_is_no_attention():
    windows = []
    layer = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with Recorder(Schedule(), lambda w: windows.append(w.resolve())):
        layer(torch.randn(5, 4)).softmax(-1).square().sum().backward()
        optimizer.step()
    assert not [r for r in windows[0].readings if r.signal.startswith("attention/")]


def test_the_whole_loss_and_its_chance_level_need_no_knowledge_of_the_weights():
    _, losses, windows = train(2, accumulate=2)
    for step, window in enumerate(windows):
        got = values(window)
        total = sum(float(loss) for loss in losses[2 * step : 2 * step + 2])
        assert got["", "loss/total"][0] == pytest.approx(total, rel=1e-5)
        assert got["", "loss/explained"][0] == pytest.approx(total, rel=1e-5)
        assert got["", "loss/chance"][0] == pytest.approx(math.log(6), rel=1e-5)
        assert got["cross_entropy", "loss/weight"][0] == pytest.approx(0.5)
        assert got["cross_entropy#1", "loss/rows"] == (6.0,)


def test_embeddings_are_found_at_the_logits_and_named_by_side():
    _, _, windows = train(1)
    got = values(windows[0])
    assert got["text[:8]", "embedding/norm"][0] == pytest.approx(1.0, rel=1e-5)
    pair = next(site for site, signal in got if signal == "embedding/scale")
    assert got[pair, "embedding/scale"][0] == pytest.approx(10.0, rel=1e-4)
    labels = {site.path: site.side for site in windows[0].sites if site.kind == "embedding"}
    assert set(labels.values()) == {"image", "text"}


def test_gradients_are_known_before_and_after_clipping():
    _, _, windows = train(1, max_norm=0.05)
    torch.manual_seed(0)
    fresh = Tiny()
    loss_of(fresh, batch_of(0)).backward()
    norm = torch.stack([p.grad.norm() for p in fresh.parameters() if p.grad is not None]).norm()
    got = values(windows[0])
    assert got["", "gradient/norm"][0] == pytest.approx(float(norm), rel=1e-4)
    assert got["", "gradient/norm_clipped"][0] == pytest.approx(0.05, rel=1e-3)


def test_updates_are_the_true_change_of_the_weights():
    windows, model = [], nn.Linear(3, 2, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before = model.weight.detach().clone()
    with Recorder(Schedule(), lambda w: windows.append(w.resolve())):
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()
    expected = float((model.weight.detach() - before).norm() / before.norm())
    assert values(windows[0])["weight", "update/ratio"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.3},
        {"accumulate": 2},
        {"autocast": True},
        {"kind": "mha"},
        {"kind": "mha_weights"},
        {"kind": "explicit"},
        {"max_norm": 0.1, "every": 2},
    ],
)
def test_watched_and_unwatched_training_are_bit_identical(options):
    model, losses, windows = train(4, **options)
    plain_model, plain_losses, _ = train(4, watch=False, **options)
    assert [float(loss) for loss in losses] == [float(loss) for loss in plain_losses]
    for name, value in plain_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert windows


def test_only_scheduled_windows_are_recorded_and_hooks_are_gone_in_between():
    _, _, windows = train(7, every=3)
    assert [window.step for window in windows] == [0, 3, 6]


def test_nothing_is_left_behind_after_an_exception():
    from torch.nn.modules import module as modules
    from torch.optim import optimizer as optimizers
    from torch.overrides import _get_current_function_mode_stack

    class BoomError(Exception):
        pass

    class Raises(nn.Module):
        def forward(self, x):
            raise BoomError

    with pytest.raises(BoomError), Recorder(Schedule(), lambda w: None):
        Raises()(torch.ones(2, 2))
    assert not modules._global_forward_hooks
    assert not modules._global_forward_pre_hooks
    assert not optimizers._global_optimizer_pre_hooks
    assert not optimizers._global_optimizer_post_hooks
    assert not _get_current_function_mode_stack()


@pytest.fixture
def default_device():
    torch.set_default_device("cpu")
    yield
    torch.set_default_device(None)


def test_a_default_device_keeps_its_place(default_device):
    from torch.overrides import _get_current_function_mode_stack

    before = _get_current_function_mode_stack()
    train(2)
    assert _get_current_function_mode_stack() == before


def test_modes_of_the_user_may_come_and_go_inside_a_window():
    from torch.overrides import _get_current_function_mode_stack

    windows = []
    layer = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with Recorder(Schedule(), lambda w: windows.append(w)):
        for _ in range(3):
            with torch.device("cpu"):
                layer(torch.randn(2, 4)).sum().backward()
                optimizer.step()
    assert len(windows) == 3
    assert not _get_current_function_mode_stack()


def test_two_optimizers_share_the_windows_of_the_first():
    windows = []
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    first, second = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (one, two))
    with Recorder(Schedule(), lambda w: windows.append(w.resolve())):
        for _ in range(3):
            two(one(torch.randn(4, 3))).square().sum().backward()
            first.step()
            second.step()
    assert [w.step for w in windows] == [0, 1, 2]
    assert all(("", "loss/total") in values(w) for w in windows)


def test_nan_is_kept_as_nan():
    windows = []
    layer = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with Recorder(Schedule(), lambda w: windows.append(w.resolve())):
        (layer(torch.full((4, 3), float("nan"))).sum()).backward()
        optimizer.step()
    got = values(windows[0])
    assert math.isnan(got["", "loss/total"][0])
    assert got["", "activation/nonfinite"] == (12.0,)


def test_evaluation_passes_are_not_recorded():
    windows = []
    torch.manual_seed(0)
    model = Tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(Schedule(), lambda w: windows.append(w.resolve())):
        with torch.no_grad():
            loss_of(model, batch_of(5, size=9))
        loss_of(model, batch_of(0)).backward()
        optimizer.step()
    assert values(windows[0])["cross_entropy", "loss/rows"] == (6.0,)


def test_the_recorder_reports_no_failure_of_its_own():
    for kind in ("fused", "explicit", "mha", "mha_weights"):
        _, _, windows = train(2, kind=kind, accumulate=2, max_norm=1.0)
        assert [s for w in windows for s in w.sites if s.coverage is Coverage.RECORDER_FAILED] == []
