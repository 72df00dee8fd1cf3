"""Inspection of a new model: what it reports, what it refuses, and that it changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeglass_diag.initcheck.certificate import certify, changes
from edgeglass_diag.initcheck.inspect import inspect_init
from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import CATALOGUE, Engine, configure
from edgeglass_models.perceiver import PerceiverResampler

TOKENS = torch.randn(4, 12, 32, generator=torch.Generator().manual_seed(0))


def codes(build, batch=TOKENS):
    engine = Engine(configure(CATALOGUE, {}))
    engine.feed(inspect_init(build, batch).window)
    return {f.code for f in engine.findings}


def test_it_changes_nothing_and_is_deterministic():
    model = PerceiverResampler(32, latents=4, layers=2, heads=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = inspect_init(model, TOKENS)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert inspect_init(model, TOKENS).attention == first.attention
    assert first.parameters[0].name == "latents"
    assert first.origins[0].writes == ()


def test_origins_have_file_and_line_and_gradients_reach_every_parameter():
    seen = inspect_init(lambda: PerceiverResampler(32, latents=4, layers=2, heads=4), TOKENS)
    first, last = seen.origins[0].writes
    assert (first.op, last.op) == ("randn", "normal_")
    assert last.file.endswith("perceiver.py")
    assert last.line == first.line + 1
    assert all(p.gradient is not None and p.gradient > 0 for p in seen.parameters)
    assert {m.site for m in seen.modules} >= {"layers.0.attention.out", "layers.1.mlp.2"}
    assert seen.never_called == ()


@pytest.mark.parametrize("latents", ["xavier", "orthogonal", "randn", "trunc_normal", "reported"])
@pytest.mark.parametrize("norm", ["pre", "pre_shared"])
def test_a_norm_makes_every_scheme_healthy(norm, latents):
    found = codes(lambda: PerceiverResampler(32, latents=4, layers=2, heads=4, norm=norm, init=latents))
    assert found <= {"EG001"}


def test_large_inputs_without_a_norm_saturate():
    assert "EG103" in codes(
        lambda: PerceiverResampler(32, latents=4, layers=1, heads=4, norm="none", init="randn"), 50 * TOKENS
    )


class Latents(nn.Module):
    """Learned queries, read by an attention of one's own."""

    def __init__(self, how: str, std: float = 0.02) -> None:
        super().__init__()
        self.how = how
        self.latents = nn.Parameter(torch.randn(4, 32) * std)
        self.query, self.key = nn.Linear(32, 32), nn.Linear(32, 32)
        self.multi = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x):
        latents = self.latents.expand(len(x), -1, -1)
        match self.how:
            case "by hand":
                return (self.query(latents) @ self.key(x).mT / 32**0.5).softmax(-1) @ x
            case "without projections":
                return (self.latents @ x.transpose(1, 2) / 32**0.5).softmax(-1) @ x
            case "tokens first":
                return (x @ self.latents.T / 32**0.5).softmax(1).mT @ x
            case "einsum":
                weights = torch.einsum("bqd,bkd->bqk", self.query(latents), self.key(x)).div(32**0.5).softmax(-1)
                return torch.einsum("bqk,bkd->bqd", weights, x)
            case "weights wanted":
                return self.multi(latents, x, x)[0]
            case _:
                return self.multi(latents, x, x, need_weights=False)[0]


@pytest.mark.parametrize("how", ["by hand", "without projections", "tokens first", "einsum", "weights wanted", "fused"])
def test_small_queries_are_found_in_every_form_of_attention(how):
    assert "EG050" in codes(lambda: Latents(how))
    assert "EG050" not in codes(lambda: Latents(how, std=1.0))
    site = inspect_init(lambda: Latents(how), TOKENS).attention[0]
    assert (site.queries, site.keys) == (4, 12)
    assert site.predicted_logit_std == pytest.approx(site.logit_std, rel=0.5)


def test_self_attention_of_any_size_is_silent_and_predicted():
    def build():
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    assert codes(build) == set()
    assert codes(build, 1e-3 * TOKENS) == set()
    for site in inspect_init(build, TOKENS).attention:
        assert site.predicted_logit_std == pytest.approx(site.logit_std, rel=0.3)


def test_attention_without_a_prediction_has_the_reason():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.map = nn.LayerNorm(32), nn.Linear(32, 32)

        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(
                *(t[:, None] for t in (self.norm(self.map(x)), self.map(x), x))
            )

    site = inspect_init(Normed, TOKENS).attention[0]
    assert site.predicted_logit_std is None
    assert "NativeLayerNorm" in site.unpredicted

    class Causal(nn.Linear):
        def forward(self, x):
            y = super().forward(x)[:, None]
            return nn.functional.scaled_dot_product_attention(y, y, y, is_causal=True)

    assert inspect_init(lambda: Causal(32, 32), TOKENS).attention[0].unpredicted.startswith("masked")


@pytest.mark.parametrize(
    ("build", "loss", "words"),
    [
        (lambda: 3, None, "build must return a torch.nn.Module, got int"),
        (nn.Identity, None, "expected a model with trainable parameters, Identity has none"),
        (lambda: nn.Linear(32, 2), lambda y: y, r"loss must give a scalar tensor, got \(4, 12, 2\)"),
        (
            lambda: nn.Linear(32, 2),
            lambda y: y.detach().sum(),
            "no output of the model depends on a trainable parameter",
        ),
    ],
)
def test_wrong_use_raises_a_clear_error(build, loss, words):
    with pytest.raises(UsageError, match=words):
        inspect_init(build, TOKENS, loss=loss)


def test_other_draws_stay_within_the_certificate_and_other_scales_do_not():
    def build(std=1.0):
        model = PerceiverResampler(32, latents=4, layers=1, heads=4, init="randn")
        nn.init.normal_(model.layers[0].attention.to_query.weight, std=0.1 * std)
        return model

    certificate = certify([inspect_init(build, TOKENS, seed=seed) for seed in range(5)])
    for seed in range(5):
        assert changes(certificate, inspect_init(build, TOKENS, seed=seed)) == []
    moved = changes(certificate, inspect_init(lambda: build(3.0), TOKENS))
    assert ("layers.0.attention.to_query.weight", "parameter/std") in {(c.site, c.statistic) for c in moved}
    assert "layers.0.attention.attention" in {c.site for c in moved}
    with pytest.raises(ValueError, match="not an init certificate: expected 'shapes' and 'statistics'"):
        changes({}, inspect_init(build, TOKENS))
