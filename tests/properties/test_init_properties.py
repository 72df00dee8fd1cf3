"""Schemes, predictions, and the resampler that they are applied to."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeglass_diag.guard.strategies import ResamplerShape, norm_placements, normal, resampler_shapes, schemes, seeds
from edgeglass_diag.initcheck.inspect import inspect_init
from edgeglass_diag.initcheck.prediction import Side, entropy, logit_std
from edgeglass_diag.initcheck.schemes import SCHEMES, initialise
from edgeglass_diag.measures.attention import attention_statistics
from edgeglass_diag.records import Severity
from edgeglass_diag.rules import CATALOGUE, Engine, configure
from edgeglass_models.perceiver import PerceiverResampler
from edgeglass_models.pooling import AttentionPooling

PROJECTIONS = st.sampled_from(
    [s for s in SCHEMES.values() if s.name not in ("zeros", "ones", "unit_normal", "mup_readout")]
)


def found(inspection):
    engine = Engine(configure(CATALOGUE, {}))
    engine.feed(inspection.window)
    return {f.code for f in engine.findings if f.severity.rank >= Severity.WARNING.rank}


@given(schemes(), st.integers(32, 96), st.integers(32, 96), st.integers(1, 12), seeds())
def test_a_scheme_draws_the_std_that_it_says(scheme, rows, columns, layers, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = scheme.fill(torch.empty(rows, columns), layers=layers)
    predicted = scheme.predicted_std(drawn, layers=layers)
    assert float(drawn.std(correction=0)) == pytest.approx(predicted, rel=6 / math.sqrt(2 * drawn.numel()) + 0.005)
    assert abs(float(drawn.mean())) <= 6 * predicted / math.sqrt(drawn.numel())


@pytest.mark.parametrize(("name", "std"), [
    ("xavier_uniform", math.sqrt(2 / 120)), ("xavier_normal", math.sqrt(2 / 120)),
    ("kaiming_uniform", math.sqrt(2 / 80)), ("kaiming_normal", math.sqrt(2 / 80)), ("torch_linear", math.sqrt(1 / 240)),
    ("lecun_normal", math.sqrt(1 / 80)),
    ("mup_hidden", math.sqrt(1 / 80)), ("mup_readout", 1 / 80), ("trunc_normal_0.02", 0.02), ("reported", 0.02),
    ("orthogonal", math.sqrt(1 / 80)), ("depth_scaled", 0.02 / math.sqrt(8)), ("unit_normal", 1.0),
    ("t_fixup", 0.67 / math.sqrt(2) * math.sqrt(2 / 120)),
])  # fmt: skip
def test_the_published_std_of_40_rows_and_80_columns_in_4_layers(name, std):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = SCHEMES[name].fill(torch.empty(40, 80), layers=4)
    assert SCHEMES[name].predicted_std(drawn, layers=4) == pytest.approx(std)
    assert float(drawn.std(correction=0)) == pytest.approx(std, rel=0.08)


WIDE = st.builds(  # wide enough that one draw is near the mean over draws
    ResamplerShape, st.sampled_from([64, 96, 128]), st.sampled_from([1, 2, 4, 8]), st.integers(4, 16),
    st.integers(1, 2), st.integers(8, 48), st.integers(2, 6),
)  # fmt: skip


@given(WIDE, norm_placements(), schemes(), PROJECTIONS, seeds())
def test_the_logits_of_a_resampler_are_as_predicted_and_ill_exactly_when_predicted(
    shape, norm, scheme, projection, seed
):
    layers = shape.layers

    def build():
        model = PerceiverResampler(
            shape.width, latents=shape.latents, layers=layers, heads=shape.heads, init="randn", norm=norm
        )
        scheme.fill(model.latents, layers=layers)
        initialise(model, projection, layers=layers)
        return model

    tokens = normal((shape.batch, shape.tokens, shape.width), seed + 1)
    inspection = inspect_init(build, tokens, seed=seed % 1000)
    first = inspection.attention[0]
    latents = scheme.predicted_std(torch.empty(shape.latents, shape.width), layers=layers)
    weight = projection.predicted_std(torch.empty(shape.width, shape.width), layers=layers)
    query = shape.width * (latents**2 if norm == "none" else 1 / (1 + 1e-5 / latents**2))
    spread = shape.width * (1 - 1 / shape.tokens)
    predicted = logit_std(
        Side(query, spread, weight), Side(shape.width, spread, weight), head_width=shape.width // shape.heads
    )
    assert first.logit_std == pytest.approx(predicted, rel=0.5)
    assert first.predicted_logit_std == pytest.approx(predicted, rel=0.35)
    limit = math.sqrt(2 * math.log(shape.tokens))
    assume(not 0.5 < predicted / 0.05 < 2 and not 0.5 < predicted / limit < 2 and not 0.7 < latents / 0.5 < 1.4)
    codes = found(inspection) & {"EG050", "EG051"}
    powerless = norm == "none" and latents < 0.5 and predicted < 0.05
    assert codes == ({"EG050"} if powerless else set())


@given(resampler_shapes(max_width=32), norm_placements(), schemes(identical_rows=True), seeds())
def test_latents_that_start_alike_are_found(shape, norm, scheme, seed):
    def build():
        model = PerceiverResampler(shape.width, latents=max(2, shape.latents), layers=1, heads=shape.heads, norm=norm)
        scheme.fill(model.latents)
        return model

    tokens = normal((shape.batch, shape.tokens, shape.width), seed)
    assert "EG051" in found(inspect_init(build, tokens))
    latents = build()(tokens)
    torch.testing.assert_close(latents, latents[:, :1].expand_as(latents))


@given(resampler_shapes(), norm_placements(), seeds(), st.randoms(use_true_random=False))
def test_the_resampler_does_not_mind_the_order_of_tokens_and_follows_that_of_latents(shape, norm, seed, random):
    model = PerceiverResampler(shape.width, latents=shape.latents, layers=shape.layers, heads=shape.heads, norm=norm)
    tokens = normal((shape.batch, shape.tokens, shape.width), seed)
    with torch.no_grad():
        before = model(tokens)
        order = torch.tensor(random.sample(range(shape.tokens), shape.tokens))
        torch.testing.assert_close(model(tokens[:, order]), before, rtol=1e-3, atol=1e-4)
        order = torch.tensor(random.sample(range(shape.latents), shape.latents))
        model.latents.copy_(model.latents[order].clone())
        torch.testing.assert_close(model(tokens), before[:, order], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(model(tokens[:1]), before[:1][:, order], rtol=1e-3, atol=1e-4)
        assert before.shape == (shape.batch, shape.latents, shape.width)


@given(resampler_shapes(max_layers=2), seeds())
def test_norms_make_the_resampler_blind_to_the_size_of_its_tokens(shape, seed):
    assume(shape.width >= 16)
    model = PerceiverResampler(shape.width, latents=shape.latents, layers=shape.layers, heads=shape.heads, norm="pre")
    tokens = normal((shape.batch, shape.tokens, shape.width), seed)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), model(30 * tokens), rtol=1e-2, atol=1e-2)
    layer = model.layers[0]
    assert layer.norm_tokens is not layer.norm_latents
    shared = PerceiverResampler(8, latents=2, layers=1, heads=2, norm="pre_shared").layers[0]
    assert shared.norm_tokens is shared.norm_latents


@given(st.sampled_from(["trunc_normal", "reported", "randn", "xavier", "orthogonal"]), seeds())
def test_the_latents_of_the_shipped_inits(init, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        latents = PerceiverResampler(96, latents=48, layers=1, heads=4, init=init).latents.detach()
    expected = {
        "trunc_normal": 0.02, "reported": 0.02, "randn": 1.0,
        "xavier": math.sqrt(2 / 144), "orthogonal": math.sqrt(1 / 96),
    }[init]  # fmt: skip
    assert float(latents.std(correction=0)) == pytest.approx(expected, rel=0.08)
    cosines = torch.nn.functional.normalize(latents, dim=-1)
    assert float((cosines @ cosines.T - torch.eye(48)).abs().max()) < 0.6


def test_every_branch_of_a_layer_counts():
    model = PerceiverResampler(16, latents=3, layers=1, heads=4, init="randn", norm="pre")
    tokens = normal((2, 5, 16), 0)
    layer = model.layers[0]
    latents = model.latents.expand(2, -1, -1)
    split = lambda x, to: to(x).view(2, -1, 4, 4).transpose(1, 2)  # noqa: E731
    attention = layer.attention
    query = split(layer.norm_latents(latents), attention.to_query)
    key, value = (split(layer.norm_tokens(tokens), to) for to in (attention.to_key, attention.to_value))
    weights = (query @ key.mT / 2).softmax(-1)
    latents = latents + attention.out((weights @ value).transpose(1, 2).flatten(2))
    expected = latents + layer.mlp(layer.norm_mlp(latents))
    torch.testing.assert_close(model(tokens), expected, rtol=1e-4, atol=1e-5)


@given(st.integers(64, 128), st.integers(16, 64), seeds())
def test_the_logits_of_the_pooling_are_as_predicted(width, tokens, seed):
    model = AttentionPooling(width)
    assert float(model.query.detach().std()) == pytest.approx(0.02, rel=0.6)
    # Not the seed that the model is drawn with: the same random bits would make tokens of the query.
    inspection = inspect_init(lambda: AttentionPooling(width), normal((4, tokens, width), seed + 1))
    site = inspection.attention[0]
    assert site.queries == 1
    assert site.predicted_logit_std == pytest.approx(site.logit_std, rel=0.6)
    assert site.logit_std == pytest.approx(0.02 * math.sqrt(1 - 1 / tokens), rel=0.8)
    assert not found(inspection)


@given(st.floats(0.0, 1.5), st.sampled_from([4, 50, 257]), seeds())
def test_entropy_is_that_of_gaussian_logits(std, keys, seed):
    draws = 20_000 // keys
    query, key = std * torch.ones(draws, 1, 1, 1), normal((draws, 1, keys, 1), seed)
    measured = float(attention_statistics(query, key, scale=1.0).entropy)
    assert entropy(std, keys) == pytest.approx(measured, abs=0.03)
    assert entropy(0.0, keys) == pytest.approx(1.0)
    assert entropy(std, keys) >= entropy(std + 0.5, keys)
    assert entropy(0.2, 577) == pytest.approx(1 - 0.04 / (2 * math.log(577)), abs=3e-4)
