"""Every way of writing attention, run under the recorder and compared with a float64 reference."""

import contextlib
import math

import pytest
import torch
from attention_reference import assert_matches, logits_of, of_logits, reference
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.bias import causal_lower_right

from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics
from edgeglass_diag.measures.sampling import strided_subset
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.attention import LOGITS, AttentionTap
from edgeglass_diag.record.functions import FunctionTap
from edgeglass_diag.record.session import Session

B, H, L, S, E = 3, 2, 5, 7, 4
TINY = torch.finfo(torch.float32).min


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


KEEP = normal(9, B, 1, 1, S) > -0.7
KEEP[..., 0] = True
PAIRS = normal(8, L, S) > 0


class Net(nn.Module):
    """A trainable gain before a function that is given, in a module named ``inner``."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.inner = inner or Calls(function)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, *inputs):
        return self.inner(*(self.gain * x for x in inputs))


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def window_of(model, *inputs, steps=1):
    windows = []
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        for _ in range(steps):
            model(*inputs).square().sum().backward()
            optimizer.step()
    return windows[-1]


def attention_in(window):
    """Statistics by site."""
    sites = {}
    for reading in window.readings:
        family, _, name = reading.signal.partition("/")
        if family == "attention":
            sites.setdefault(reading.site, {})[name] = torch.tensor(reading.values, dtype=torch.float64)
    return sites


def statuses(window):
    return {site.path: site.status for site in window.sites if site.kind == "attention"}


def check(window, expected, site="inner.attention", unknown=()):
    sites = attention_in(window)
    assert list(sites) == [site]
    assert statuses(window) == {site: "observed"}
    found = AttentionStatistics(*(sites[site].get(name) for name in AttentionStatistics._fields))
    assert_matches(found, expected, unknown=unknown)
    return sites[site]


FUSED = {
    "plain": {},
    "scale": {"scale": 0.9},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": KEEP},
    "pairs": {"attn_mask": PAIRS},
    "additive": {"attn_mask": torch.zeros(L, S).masked_fill(~PAIRS, -math.inf)},
    "finite": {"attn_mask": torch.zeros(B, 1, 1, S).masked_fill(~KEEP, TINY)},
    "bias": {"attn_mask": normal(7, H, L, S)},
    "dropout": {"dropout_p": 0.5},
}


@pytest.mark.parametrize("kind", FUSED)
def test_fused_attention(kind):
    q, k, v = normal(0, B, H, L, E), normal(1, B, H, S, E), normal(2, B, H, S, E)
    options = FUSED[kind]
    window = window_of(Net(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options).nan_to_num()), q, k, v)
    known = {"mask": options.get("attn_mask"), **{n: options[n] for n in ("scale", "is_causal") if n in options}}
    check(window, reference(q, k, **known))


def test_fused_attention_with_positional_mask_and_shared_key_heads():
    q, k, v = normal(0, B, 4, L, E), normal(1, B, 2, S, E), normal(2, B, 2, S, E)
    window = window_of(
        Net(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, KEEP, 0.0, False, enable_gqa=True)), q, k, v
    )
    check(window, reference(q, k, KEEP))


def test_fused_attention_of_three_and_of_five_dimensions():
    q, k = normal(0, B * H, L, E), normal(1, B * H, S, E)
    mask = normal(2, B * H, L, S) > -1
    window = window_of(Net(lambda q, k: F.scaled_dot_product_attention(q, k, k, attn_mask=mask)), q, k)
    check(window, reference(q[:, None], k[:, None], mask[:, None]))
    q, k, mask = q.view(B, 1, H, L, E), k.view(B, 1, H, S, E), mask.view(B, 1, H, L, S)
    window = window_of(Net(lambda q, k: F.scaled_dot_product_attention(q, k, k, attn_mask=mask)), q, k)
    check(window, reference(q[:, 0], k[:, 0], mask[:, 0]))


def test_fused_attention_with_a_causal_bias_aligned_to_the_end():
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)
    window = window_of(Net(lambda q, k: F.scaled_dot_product_attention(q, k, k, causal_lower_right(L, S))), q, k)
    check(window, reference(q, k, torch.ones(L, S, dtype=torch.bool).tril(S - L)))


def scaled_before(q, k, v):
    return (q / math.sqrt(E) @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def scaled_after(q, k, v):
    return torch.matmul(F.softmax(torch.matmul(q, k.mT) * E**-0.5, -1), v)


def summed_by_einsum(q, k, v):
    weights = torch.einsum("bhqd,bhkd->bhqk", q, k / math.sqrt(E)).softmax(-1)
    return torch.einsum("bhqk, bkhd -> bqhd", weights, v.transpose(1, 2))


def in_a_lower_precision_after(q, k, v):
    weights = F.softmax(q @ k.mT * E**-0.5, dim=-1, dtype=torch.float32).to(q.dtype)
    return torch.matmul(F.dropout(weights, p=0.1, training=True), v).transpose(1, 2).contiguous()


def in_modules_of_their_own():
    layers = nn.ModuleList([nn.Softmax(dim=-1), nn.Dropout(0.2)])

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, q, k, v):
            return layers[1](layers[0](q @ k.mT / math.sqrt(E))) @ v

    return Attends()


@pytest.mark.parametrize(
    "write", [scaled_before, scaled_after, summed_by_einsum, in_a_lower_precision_after, in_modules_of_their_own]
)
def test_explicit_attention(write):
    q, k, v = normal(0, B, H, L, E), normal(1, B, H, S, E), normal(2, B, H, S, E)
    own = write() if write is in_modules_of_their_own else None
    found = check(window_of(Net(write, own), q, k, v), reference(q, k))
    assert found["distinct"].shape == (H,)


def test_outputs_of_an_einsum_are_told_apart_by_head():
    # As many queries as heads: only the equation tells which is which.
    q, k = normal(0, B, H, H, E), normal(1, B, H, S, E)
    v = normal(2, B, H, S, 8)
    found = {
        write: attention_in(window_of(Net(write), q, k, v))["inner.attention"]
        for write in (scaled_before, summed_by_einsum)
    }
    torch.testing.assert_close(found[summed_by_einsum]["distinct"], found[scaled_before]["distinct"], atol=1e-5, rtol=0)


def fills(logits, keep, fill):
    return logits.masked_fill(~keep, fill)


def adds(logits, keep, fill):
    return logits + torch.zeros(keep.shape).masked_fill(~keep, fill)


def adds_to(logits, keep, fill):
    return torch.add(torch.zeros(keep.shape).masked_fill(~keep, fill), logits)


def chooses(logits, keep, fill):
    return torch.where(keep, logits, fill)


@pytest.mark.parametrize("fill", [-math.inf, TINY, -1e4])
@pytest.mark.parametrize("masks", [fills, adds, adds_to, chooses])
@pytest.mark.parametrize("keep", [KEEP, PAIRS])
def test_explicit_attention_with_a_mask(fill, masks, keep):
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)
    write = Net(lambda q, k: masks(q @ k.mT / math.sqrt(E), keep, fill).softmax(-1).nan_to_num() @ k)
    check(window_of(write, q, k), reference(q, k, keep))


@pytest.mark.parametrize("fill", [-math.inf, TINY, -1e4])
def test_a_mask_put_in_place_is_told_by_its_size(fill):
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)

    def write(q, k):
        logits = q @ k.mT / math.sqrt(E)
        logits.masked_fill_(~KEEP, fill)
        return logits.softmax(-1) @ k

    # What it hides was gone before anybody could see it.
    check(window_of(Net(write), q, k), reference(q, k, KEEP), unknown=("padding_mass",))


@pytest.mark.parametrize("masks", [fills, adds])
def test_pooling_with_a_mask(masks):
    scores, x, keep = normal(0, B, S), normal(1, B, S, E), KEEP[:, 0, 0]
    window = window_of(Net(lambda s, x: (masks(s, keep, -1e4).softmax(-1)[..., None] * x).sum(1)), scores, x)
    rows = scores[:, None, None].double()
    expected = of_logits(rows, KEEP, rows, ~KEEP)
    check(window, expected, unknown=() if masks is fills else ("padding_mass",))


def test_two_attentions_whose_weights_wait_at_the_same_time_keep_apart():
    q, k = normal(0, B, H, L, E), normal(1, B, H, S, E)

    def write(q, k):
        one, other = (q @ k.mT).softmax(-1), (3 * q @ k.mT).softmax(-1)
        return (one * 1.0).clone() @ k + other @ k

    found = attention_in(window_of(Net(write), q, k))
    for site, scale in (("inner.attention", 1.0), ("inner.attention#1", 3.0)):
        torch.testing.assert_close(found[site]["entropy"], reference(q, k, scale=scale)["entropy"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("write", [scaled_before, summed_by_einsum, in_a_lower_precision_after])
def test_watched_gradients_are_bit_identical(write):
    q, k, v = normal(0, 32, H, 40, E), normal(1, 32, H, 40, E), normal(2, 32, H, 40, E)
    keep = normal(3, 32, 1, 1, 40) > 0
    gradients = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Net(lambda q, k, v: write(q, k, v) + (q @ k.mT).masked_fill(~keep, TINY).softmax(-1).sum())
        with Recorder(lambda step: True, lambda w: None) if watched else contextlib.nullcontext():
            model(q, k, v).square().sum().backward()
        gradients.append(model.gain.grad)
    assert torch.equal(*gradients)


def test_large_masked_logits_are_sampled():
    q, k, keep = normal(0, 32, 2, 150, 8), normal(1, 32, 2, 150, 8), normal(2, 32, 1, 1, 150) > 0
    subset = strided_subset(32, 150, 300, LOGITS)
    assert subset.size != subset.population
    expected = attention_statistics(q, k, mask=keep, scale=1.0, subset=subset)._asdict()
    for masks in (fills, adds):
        window = window_of(Net(lambda q, k, masks=masks: masks(q @ k.mT, keep, -math.inf).softmax(-1) @ k), q, k)
        check(window, {name: value.double() for name, value in expected.items()})


@pytest.mark.parametrize("product", ["bmm", "baddbmm"])
def test_heads_folded_into_the_batch_are_one_component(product):
    q, k = normal(0, B * H, L, E), normal(1, B * H, S, E)
    bias = normal(2, B * H, 1, S).masked_fill(normal(3, B * H, 1, S) > 1, TINY)

    def write(q, k):
        if product == "bmm":
            return torch.bmm(torch.bmm(q, k.mT).softmax(-1), k)
        return torch.bmm(torch.baddbmm(bias, q, k.mT, beta=1, alpha=0.3).softmax(-1), k)

    mask, scale = (None, 1.0) if product == "bmm" else (bias[:, None], 0.3)
    found = check(window_of(Net(write), q, k), reference(q[:, None], k[:, None], mask, scale=scale))
    assert len(found["entropy"]) == len(found["distinct"]) == 1


def test_windows_of_five_dimensions_are_one_component():
    q, k = normal(0, B, 2, H, L, E), normal(1, B, 2, H, S, E)
    logits = (q @ k.mT).double().flatten(0, 2)[:, None]
    window = window_of(Net(lambda q, k: (q @ k.mT).softmax(-1) @ k), q, k)
    check(window, of_logits(logits, torch.ones(logits.shape, dtype=torch.bool)))


def pooled_rows(scores, x):
    return (scores.softmax(-1).unsqueeze(-1) * x).sum(1)


def pooled_rows_by_product(scores, x):
    return torch.bmm(F.softmax(scores, dim=1).unsqueeze(1), x).squeeze(1)


def pooled_column(scores, x):
    return (torch.softmax(scores.unsqueeze(-1), dim=1) * x).sum(dim=1)


def pooled_column_by_einsum(scores, x):
    return torch.einsum("bn,bnd->bd", [scores.unsqueeze(-1).softmax(1).squeeze(-1), x])


@pytest.mark.parametrize("write", [pooled_rows, pooled_rows_by_product, pooled_column, pooled_column_by_einsum])
def test_pooling_by_scores(write):
    scores, x = normal(0, B, S), normal(1, B, S, E)
    expected = of_logits(scores[:, None, None].double(), torch.ones(B, 1, 1, S, dtype=torch.bool))
    found = check(window_of(Net(write), scores, x), expected)
    assert "distinct" not in found


def test_scores_over_the_first_of_two_dimensions_have_the_rest_as_queries():
    scores, x = normal(0, B, S, L), normal(1, B, S, E)
    logits = scores.mT[:, None].double()
    window = window_of(Net(lambda s, x: s.softmax(dim=1).transpose(1, 2) @ x), scores, x)
    check(window, of_logits(logits, torch.ones(logits.shape, dtype=torch.bool)))


MULTIHEAD = {
    "plain": {},
    "sequence first": {"batch_first": False},
    "biases": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True},
    "other widths": {"kdim": 6, "vdim": 3},
    "dropout": {"dropout": 0.4},
}
MASKS = {
    "none": {},
    "padding": {"key_padding_mask": ~KEEP[:, 0, 0]},
    "pairs": {"attn_mask": ~PAIRS},
    "additive": {"attn_mask": normal(3, L, S)},
    "heads": {"attn_mask": normal(3, B * H, L, S)},
    "both": {"key_padding_mask": ~KEEP[:, 0, 0], "attn_mask": torch.zeros(L, S, dtype=torch.bool)},
}


class Multihead(nn.Module):
    def __init__(self, calls, **options):
        super().__init__()
        self.calls = calls
        self.mha = nn.MultiheadAttention(H * E, H, **options)

    def forward(self, q, k, v):
        return self.mha(q, k, v, **self.calls)[0].nan_to_num()


def multihead_reference(mha, q, k, masks):
    """From the module's own parameters: logits in float64, and what is allowed."""
    width = mha.embed_dim
    weights = (
        mha.in_proj_weight.split(width) if mha.in_proj_weight is not None else (mha.q_proj_weight, mha.k_proj_weight)
    )
    biases = mha.in_proj_bias.split(width)
    query, key = F.linear(q, weights[0], biases[0]), F.linear(k, weights[1], biases[1])
    if mha.bias_k is not None:
        key = torch.cat([key, mha.bias_k.expand(len(key), -1, -1)], 1)
    if mha.add_zero_attn:
        key = torch.cat([key, torch.zeros(len(key), 1, width)], 1)
    query, key = (x.detach().unflatten(-1, (H, E)).transpose(1, 2) for x in (query, key))
    bias = torch.zeros(B, H, L, key.shape[2])
    attn, padding = masks.get("attn_mask"), masks.get("key_padding_mask")
    if attn is not None:
        attn = attn if attn.dim() == 2 else attn.view(B, H, L, S)
        bias[..., :S] += torch.zeros(attn.shape).masked_fill(attn, -math.inf) if attn.dtype == torch.bool else attn
    if padding is not None:
        bias[..., :S] += torch.zeros(B, S).masked_fill(padding, -math.inf)[:, None, None]
    return reference(query, key, bias)


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", MULTIHEAD)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention(options, masks, weights, training):
    torch.manual_seed(0)
    settings = {"batch_first": True, **MULTIHEAD[options]}
    own = Multihead({**MASKS[masks], "need_weights": weights}, **settings).train(training)
    q, k, v = (normal(i, B, n, w) for i, n, w in ((0, L, H * E), (1, S, own.mha.kdim), (2, S, own.mha.vdim)))
    expected = multihead_reference(own.mha, q, k, MASKS[masks])
    inputs = (q, k, v) if settings["batch_first"] else tuple(x.transpose(0, 1) for x in (q, k, v))
    found = check(window_of(Net(None, own), *inputs), expected, "inner.mha.attention")
    assert len(found["distinct"]) == H


def test_multihead_attention_that_is_causal():
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    own = Multihead({"attn_mask": mask, "is_causal": True, "need_weights": False}, batch_first=True)
    x = normal(0, B, L, H * E)
    weights, biases = own.mha.in_proj_weight.split(H * E), own.mha.in_proj_bias.split(H * E)
    q, k = (F.linear(x, weights[i], biases[i]).detach().unflatten(-1, (H, E)).transpose(1, 2) for i in range(2))
    check(window_of(Net(None, own), x, x, x), reference(q, k, is_causal=True), "inner.mha.attention")


def classifies(x):
    return x.softmax(-1).log()


def focuses(x):
    return x.softmax(-1) * (1 - x.softmax(-1)) * torch.ones_like(x)


def chooses_among_learned_rows(x):
    return x.softmax(-1) @ nn.Parameter(torch.ones(S, 2))


@pytest.mark.parametrize("write", [classifies, focuses, chooses_among_learned_rows])
def test_a_softmax_that_mixes_no_activations_is_no_attention(write):
    window = window_of(Net(write), normal(0, B, S))
    assert attention_in(window) == {}
    assert statuses(window) == {}


def test_a_classifier_before_an_attention_does_not_change_its_name():
    q = normal(0, B, H, L, E)
    window = window_of(Net(lambda q: q.softmax(-1).sum() + (q @ q.mT).softmax(-1) @ q), q)
    assert list(attention_in(window)) == ["inner.attention"]


def test_a_large_attention_is_sampled_and_says_how_well():
    q, k = normal(0, 32, 2, 150, 8) * torch.linspace(0.5, 3, 32).view(-1, 1, 1, 1), normal(1, 32, 2, 150, 8)
    for write in (
        lambda q, k: F.scaled_dot_product_attention(q, k, k),
        lambda q, k: (q @ k.mT / math.sqrt(8)).softmax(-1) @ k,
    ):
        found = attention_in(window_of(Net(write), q, k))["inner.attention"]
        weights = (q @ k.mT / math.sqrt(8)).double().softmax(-1)
        exact = torch.special.entr(weights).sum(-1).mean((0, 2)) / math.log(150)
        error = (found["entropy"] - exact).abs()
        assert (error > 0).all()
        assert (error < 4 * found["entropy_se"]).all()
        assert (found["entropy_se"] < 0.1).all()
    assert "entropy_se" not in attention_in(window_of(Net(write), q[:2], k[:2]))["inner.attention"]


def test_no_bound_on_the_logits_means_exact():
    q, k = normal(0, 16, 2, 40, E), normal(1, 16, 2, 30, E)
    session = Session()
    for logits, exact in ((None, True), (2000, False)):
        tap = AttentionTap(session, logits=logits)
        functions = FunctionTap(session, tap.observers, {})
        functions.attach()
        try:
            (q @ k.mT).softmax(-1) @ k
            F.scaled_dot_product_attention(q, k, k, scale=1.0)
        finally:
            functions.detach()
        sites = attention_in(session.buffer.flush(0, (), ()).resolve())
        session.end_window()
        assert [("entropy_se" not in found) for found in sites.values()] == [exact] * 2
        errors = [(found["entropy"] - reference(q, k, scale=1.0)["entropy"]).abs().max() for found in sites.values()]
        assert [float(error) < 1e-6 for error in errors] == [exact] * 2


def test_frozen_attentions_say_why_they_are_not_observed():
    class Fused(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x)

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
            self.mha = nn.MultiheadAttention(8, 2, batch_first=True).eval()
            self.fused = Fused()

        def forward(self, x):
            with torch.no_grad():
                x = self.fused(self.mha(self.layer(x), x, x, need_weights=False)[0])
            return self.gain * x

    window = window_of(Frozen(), normal(0, 2, 3, 8))
    reason = "not observed: ran without gradients, where it is left to choose its own kernel"
    hidden = dict.fromkeys(("layer.self_attn.attention", "mha.attention"), reason)
    assert statuses(window) == {**hidden, "fused.attention": "observed"}
    assert set(attention_in(window)) == {"fused.attention"}


def test_an_attention_that_is_unfrozen_is_observed_again():
    own = Multihead({"need_weights": False}, batch_first=True)
    net, x = Net(None, own), normal(0, B, L, H * E)
    windows, optimizer = [], torch.optim.SGD(net.parameters(), lr=1e-3)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        for frozen in (True, False):
            with torch.set_grad_enabled(not frozen) if frozen else torch.enable_grad():
                hidden = own(x, x, x) if not frozen else None
            (net(x, x, x) if hidden is None else hidden).sum().backward()
            optimizer.step()
    assert [s.status for w in windows for s in w.sites if s.kind == "attention"][-1] == "observed"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("debug", [True, False])
def test_flex_attention(monkeypatch, debug):
    # Called as it is, flex attention traces itself and then runs the operation eagerly.
    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", debug)
    q, k = normal(0, B, 4, 16, E), normal(1, B, 2, 16, E)
    slopes = torch.arange(4) / 8
    lengths = torch.tensor([16, 9, 4])

    def biased(score, b, h, i, j):
        return score - slopes[h] * (i - j)

    def allows(b, h, i, j):
        return (i >= j) & (j < lengths[b])

    mask = flex.create_block_mask(allows, B, None, 16, 16, device="cpu")

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(E, E)

        def forward(self, q, k):
            return self.out(flex.flex_attention(q, k, k, biased, mask, 0.7, True))

    places = torch.arange(16)
    logits = logits_of(q, k, 0.7) - slopes[:, None, None] * (places[:, None] - places)
    allowed = (places[:, None] >= places) & (places < lengths[:, None, None, None])
    found = check(window_of(Attends(), q, k), of_logits(logits, allowed.expand(logits.shape)), "attention")
    assert found["distinct"].shape == (4,)


@pytest.mark.filterwarnings("ignore")
def test_compiled_flex_attention_is_said_to_be_unobserved():
    flex_attention = torch.compile(flex.flex_attention, backend="aot_eager")

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(E, E)

        def forward(self, q, k):
            return self.out(flex_attention(q, k, k))

    q = normal(0, B, H, 16, E)
    reason = "not observed: compiled, flex_attention keeps its logits inside"
    assert statuses(window_of(Attends(), q, q)) == {"attention": reason}
