"""The alignment models: shapes, symmetries, losses against references."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from edgeglass_models.align import AlignmentModel, PooledImageHead
from edgeglass_models.losses import clip_loss
from edgeglass_models.mrl import MatryoshkaHead
from edgeglass_models.optim import make_optimizer
from edgeglass_models.perceiver import PerceiverResampler
from edgeglass_models.pooling import AttentionPooling
from edgeglass_models.recipes.settings import OptimSettings


@given(
    heads=st.sampled_from([1, 2, 4]), latents=st.integers(1, 5), tokens=st.integers(1, 6), layers=st.integers(1, 3),
    norm=st.sampled_from(["pre", "pre_shared", "none"]), init=st.sampled_from(["reported", "randn", "xavier"]),
)  # fmt: skip
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_tokens_does_not_matter(heads, latents, tokens, layers, norm, init):
    torch.manual_seed(0)
    resampler = PerceiverResampler(8, latents=latents, layers=layers, heads=heads, init=init, norm=norm)
    x = torch.randn(2, tokens, 8)
    out = resampler(x)
    assert out.shape == (2, latents, 8)
    torch.testing.assert_close(resampler(x.flip(1)), out, atol=1e-5, rtol=1e-4)


def test_identical_latents_stay_identical():
    resampler = PerceiverResampler(8, latents=5, layers=2, heads=2, init="identical")
    out = resampler(torch.randn(3, 4, 8))
    torch.testing.assert_close(out, out[:, :1].expand_as(out))


def test_the_reported_latents_have_the_last_of_the_two_scales():
    torch.manual_seed(0)
    assert PerceiverResampler(512, latents=64, init="reported").latents.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_a_number_is_the_std_of_the_latents(std):
    torch.manual_seed(0)
    assert PerceiverResampler(512, latents=64, init=std).latents.std().item() == pytest.approx(std, rel=0.05)


def test_the_optimizer_is_the_one_that_is_named():
    model = torch.nn.Linear(4, 2)
    optimizer, _ = make_optimizer(model, OptimSettings(name="sgd", lr=0.5, betas=(0.8, 0.9)), 10)
    assert isinstance(optimizer, torch.optim.SGD)
    assert [(g["lr"], g["momentum"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (0.5, 0.8, 0.01), (0.5, 0.8, 0.0),
    ]  # fmt: skip
    assert isinstance(make_optimizer(model, OptimSettings(lr=0.5), 10)[0], torch.optim.AdamW)


def test_the_reported_norm_is_one_object():
    layer = PerceiverResampler(8, norm="pre_shared", heads=2).layers[0]
    assert layer.norm_latents is layer.norm_tokens
    apart = PerceiverResampler(8, norm="pre", heads=2).layers[0]
    assert apart.norm_latents is not apart.norm_tokens


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="width must be a multiple of heads, got width 9 and 2 heads"):
        PerceiverResampler(9, heads=2)


def test_pooling_with_a_zero_query_is_the_mean_of_the_normed_tokens():
    pooling = AttentionPooling(6)
    torch.nn.init.zeros_(pooling.query)
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(pooling(x), pooling.norm(x).mean(1))


def test_prefixes_have_unit_norm_each():
    head = MatryoshkaHead(16, [16, 8, 4])
    x = torch.randn(3, 16)
    for dim in head.dims:
        prefix = head(x, dim)
        assert prefix.shape == (3, dim)
        torch.testing.assert_close(prefix.norm(dim=-1), torch.ones(3))
    with pytest.raises(ValueError, match=r"mrl_dims must be in \[1, 16\] and not empty, got \[17\]"):
        MatryoshkaHead(16, [17])


def test_clip_loss_equals_the_written_out_one():
    image, text = (F.normalize(torch.randn(7, 5, dtype=torch.float64), dim=-1) for _ in range(2))
    expected = 0.0
    for rows, columns in ((image, text), (text, image)):
        for i in range(7):
            scores = [10 * float(rows[i] @ columns[j]) for j in range(7)]
            expected += math.log(sum(math.exp(s) for s in scores)) - scores[i]
    assert float(clip_loss(image, text, 10.0)) == pytest.approx(expected / 14)


def test_a_constant_side_costs_exactly_ln_b_when_both_are_constant():
    same = F.normalize(torch.ones(9, 4), dim=-1)
    assert float(clip_loss(same, same, 14.3)) == pytest.approx(math.log(9), rel=1e-6)


def test_the_weights_of_the_loss():
    model = AlignmentModel(PooledImageHead(6, 8), text_width=5, width=8, mrl_dims=[8, 4], clip_weight=0.25)
    losses = model(torch.randn(4, 3, 6), torch.randn(4, 5))
    torch.testing.assert_close(losses["loss"], 0.25 * losses["clip"] + losses["mrl"])
    one = model(torch.randn(4, 3, 6), torch.randn(4, 5), [4])
    assert one["mrl"].shape == ()


def test_a_learned_scale_is_a_parameter_and_a_fixed_one_is_not():
    def names(learned):
        head = PooledImageHead(6, 8)
        model = AlignmentModel(head, text_width=5, width=8, mrl_dims=[8], learned_scale=learned)
        return {name for name, _ in model.named_parameters()}

    assert names(True) - names(False) == {"log_scale"}
