"""Changes of functions, modules and batches: equal, bit for bit, to a program that is written with the change."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import edgeglass_diag as eg
from edgeglass_diag.store import load
from tests.helpers.interventions import placed, same

ROWS, STEPS = 8, 5
LABELS = torch.arange(ROWS)


class Towers(nn.Module):
    """Pictures (B, 3, 2, 2) and tokens (B, 4) to embeddings (B, 6); token 0 is padding."""

    def __init__(self, p=0.0, **options):
        super().__init__()
        self.options = {"norm_before": False, "norm_behind": False, "scale": 1.0, "cut": None, **options}
        self.patch = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6))
        self.drop = nn.Dropout(p)
        self.words = nn.Embedding(9, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 6)

    def forward(self, pictures, tokens):
        pictures = self.drop(self.patch(pictures))
        words = self.words(tokens)
        if self.options["cut"] == "no_grad":
            with torch.no_grad():
                words = self.words(tokens)
        if self.options["cut"] == "detach":
            words = words.detach()
        hidden = tokens != 0 if self.options.get("wrong_mask") else tokens == 0
        words = self.attention(words, words, words, key_padding_mask=hidden, need_weights=False)[0].mean(1)
        words = F.layer_norm(words, (6,)) if self.options["norm_before"] else words
        words = self.head(words) * self.options["scale"]
        return pictures, F.layer_norm(words, (6,)) if self.options["norm_behind"] else words


def contrast(image, text):
    return cross_entropy(5 * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T, LABELS)


def train(loss=contrast, *, change=lambda *batch: batch, watch=None, **options):
    """Return losses, parameters at the end and a number that is drawn then."""
    torch.manual_seed(0)
    model = Towers(**options)
    if options.get("frozen_norm"):
        model.patch[2].eval()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    losses = []
    for _ in range(STEPS):
        pictures, tokens = 50 * torch.rand(ROWS, 3, 2, 2), torch.randint(0, 9, (ROWS, 4))
        tokens[:, 0] = torch.arange(1, ROWS + 1)  # each has a token that counts
        value = loss(*model(*change(pictures, tokens)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return [*losses, *(p.detach() for p in model.parameters()), torch.rand(1)]


def scores(image, text):
    return F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def plain(image, text):
    return image @ text.T


def by_hand(image, text):
    return (image / image.norm(dim=-1, keepdim=True)) @ (text / text.norm(dim=-1, keepdim=True)).t()


def of(make, scale=1.0, labels=LABELS, around=lambda x: x):
    return lambda image, text: cross_entropy(around(scale * make(image, text)), labels)


def shifted(image, text):
    return torch.matmul(F.normalize(image, dim=-1), F.normalize(text, dim=-1).t()).mul(5)


CASES = {
    "a temperature": ("loss.temperature", 10.0, "", of(scores), of(lambda *e: scores(*e) * 10.0), {}, {}),
    "labels off the diagonal": (
        "loss.diagonal_labels", None, "", of(shifted, labels=LABELS.roll(1)), of(shifted), {}, {},
    ),
    "softmax, a method": (
        "loss.no_softmax", None, "", of(scores, 9, around=lambda x: x.softmax(-1)), of(scores, 9), {}, {},
    ),
    "softmax, a function": (
        "loss.no_softmax", None, "", of(scores, 9, around=functools.partial(F.softmax, dim=-1)), of(scores, 9), {}, {},
    ),
    "softmax, a module": ("loss.no_softmax", None, "", of(scores, 9, around=nn.Softmax(-1)), of(scores, 9), {}, {}),
    "log_softmax": (
        "loss.no_softmax", None, "", of(scores, 9, around=lambda x: torch.log_softmax(x, -1)), of(scores, 9), {}, {},
    ),
    "dropout": ("dropout.off", None, "", contrast, contrast, {"p": 0.5}, {"p": 0.0}),
    "dropout of one module": ("dropout.off", None, "drop", contrast, contrast, {"p": 0.5}, {"p": 0.0}),
    "a norm before": ("module.norm_before", None, "head", contrast, contrast, {}, {"norm_before": True}),
    "a norm behind": ("module.norm_behind", None, "head", contrast, contrast, {}, {"norm_behind": True}),
    "a scale": ("module.scaled", 3.0, "head", of(plain), of(plain), {}, {"scale": 3.0}),
    "BatchNorm": ("module.batch_norm_eval", None, "", contrast, contrast, {}, {"frozen_norm": True}),
    "BatchNorm of one module": ("module.batch_norm_eval", None, "patch", contrast, contrast, {}, {"frozen_norm": True}),
    "detach": ("gradient.kept", None, "words", contrast, contrast, {"cut": "detach"}, {}),
    "detach anywhere": ("gradient.kept", None, "", contrast, contrast, {"cut": "detach"}, {}),
    "a mask": ("attention.mask_inverted", None, "", contrast, contrast, {"wrong_mask": True}, {}),
    "a mask of one module": (
        "attention.mask_inverted", None, "attention", contrast, contrast, {"wrong_mask": True}, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_if_written(case):
    name, value, site, ill_loss, healthy_loss, ill, healthy = CASES[case]
    expected = train(healthy_loss, **healthy)
    *expected, drawn = expected
    assert not same(train(ill_loss, **ill)[:-1], expected)
    with placed(name, value, site) as means:
        *found, also = train(ill_loss, **ill)
    assert means.applied >= STEPS
    assert same(found, expected)
    if "dropout" not in name:  # without it the program draws other numbers
        assert torch.equal(drawn, also)
    assert not same(train(ill_loss, **ill)[:-1], expected), "it is not put back"


def test_a_softmax_is_taken_out_of_both_directions():
    def both(image, text, around):
        logits = around(9 * scores(image, text))
        return (cross_entropy(logits, LABELS) + cross_entropy(logits.T, LABELS)) / 2

    expected = train(lambda *each: both(*each, around=lambda x: x))
    with placed("loss.no_softmax") as means:
        assert same(train(lambda *each: both(*each, around=lambda x: x.softmax(-1))), expected)
    assert means.applied == 2 * STEPS


def test_no_grad_around_a_module_is_lifted():
    with placed("gradient.kept", site="words") as means:
        torch.manual_seed(0)
        model = Towers(cut="no_grad")
        for _ in range(2):
            contrast(*model(torch.rand(ROWS, 3, 2, 2), torch.randint(1, 9, (ROWS, 4)))).backward()
        assert model.words.weight.grad is not None
    assert means.applied == 2


@pytest.mark.parametrize("make", [plain, lambda i, t: torch.mm(i, t.T), lambda i, t: F.linear(i, t)])
def test_operands_are_normalised_from_the_second_pass_on(make):
    def first_plain():
        calls = []

        def loss(image, text):
            calls.append(1)
            both = (image, text) if len(calls) == 1 else (F.normalize(image, dim=-1), F.normalize(text, dim=-1))
            return cross_entropy(make(*both), LABELS)

        return loss

    expected = train(first_plain())
    with placed("loss.normalised") as means:
        assert same(train(of(make)), expected)
    assert means.applied == STEPS - 1


@pytest.mark.parametrize("make", [scores, by_hand])
def test_a_normalisation_is_taken_off(make):
    calls = []

    def loss(image, text):
        calls.append(1)
        return cross_entropy((make if len(calls) == 1 else plain)(image, text), LABELS)

    expected = train(loss)
    with placed("loss.not_normalised") as means:
        assert same(train(of(make)), expected)
    assert means.applied == STEPS - 1


def standardised(pictures, tokens):
    mean, deviation = (f((0, 2, 3), keepdim=True) for f in (pictures.mean, pictures.std))
    return (pictures - mean) / deviation, tokens


@pytest.mark.parametrize(
    ("name", "value", "change"),
    [
        ("data.captions_permuted", None, lambda pictures, tokens: (pictures, tokens.roll(1, 0))),
        ("data.pixels_standardised", None, standardised),
        ("data.pixels_scaled", 0.02, lambda pictures, tokens: (pictures * 0.02, tokens)),
    ],
)
def test_batches_are_changed_once(name, value, change):
    with placed(name, value) as means:
        found = train()
    assert same(found, train(change=change))
    assert means.applied == STEPS


@pytest.mark.parametrize("where", [torch.autocast, torch.amp.autocast])
def test_autocast_is_never_on(where):
    with placed("autocast.off") as means, where("cpu", dtype=torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32
    assert means.applied == 1
    with where("cpu", dtype=torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16


SHOWN = torch.tensor([[True, True, False, True]] * 4)
HIDING = torch.zeros(4, 4).masked_fill(~SHOWN, float("-inf"))
CAUSAL = torch.ones(4, 4, dtype=torch.bool).tril()
UPPER = ~CAUSAL


def fused(q, mask):
    return scaled_dot_product_attention(q, q, q, attn_mask=mask)


def late(q, mask):
    return F.scaled_dot_product_attention(q, q, q, mask)


def filled(q, mask):
    return (q @ q.mT).masked_fill(mask, float("-inf")).softmax(-1)


def chosen(q, mask):
    return torch.where(mask, q @ q.mT, torch.tensor(-1e9)).softmax(-1)


@pytest.mark.parametrize(
    ("attend", "mask", "other"),
    [(late, SHOWN, ~SHOWN), (filled, SHOWN, ~SHOWN), (chosen, SHOWN, ~SHOWN), (late, CAUSAL, CAUSAL),
     (filled, UPPER, UPPER)],
)  # fmt: skip
def test_masks_of_functions_are_turned_round(attend, mask, other):
    q = torch.randn(1, 4, 8, requires_grad=True)
    expected = attend(q, other)
    with placed("attention.mask_inverted") as means:
        assert torch.equal(attend(q, mask), expected)
    assert means.applied == (mask is not other)


def test_an_additive_mask_is_turned_round():
    q = torch.randn(1, 4, 8, requires_grad=True)
    expected = late(q, ~SHOWN)
    with placed("attention.mask_inverted") as means:
        assert torch.allclose(late(q, HIDING), expected)
        late(q, torch.randn(4, 4))  # a bias of positions is no mask
    assert means.applied == 1


NOTHING = [
    ("loss.diagonal_labels", None, ""), ("loss.no_softmax", None, ""), ("loss.normalised", None, ""),
    ("dropout.off", None, ""), ("autocast.off", None, ""), ("gradient.kept", None, ""),
    ("module.norm_before", None, "nowhere"), ("module.scaled", 2.0, "nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "site"), NOTHING)
def test_where_there_is_nothing_to_change_nothing_is(name, value, site):
    expected = train()
    with placed(name, value, site) as means:
        assert same(train(), expected)
    assert means.applied == 0


def test_the_recorder_sees_the_changed_training(tmp_path):
    def recorded(name):
        with eg.watch(out=tmp_path / name, every=1):
            train(of(scores, 9, around=lambda x: x.softmax(-1)))
        with load(tmp_path / name) as run:
            return run.last_step, {reading.values[0] for _, reading in run.readings("loss/is_probability")}

    assert recorded("ill") == (STEPS - 1, {1.0})
    with placed("loss.no_softmax"):
        assert recorded("cured") == (STEPS - 1, {0.0})
