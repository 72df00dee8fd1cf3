"""An encoder under a causal mask that is read at its first token, beside those that may be causal."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import edgeglass_diag as eg
from edgeglass_diag.rules.attention_masks import CausalBeforeFirst

RULES = (CausalBeforeFirst,)
TOKENS, WIDTH = 6, 16


class Attention(nn.Module):
    """Self-attention over (B, L, D), causal by a flag, by a mask, or by a mask before a softmax."""

    def __init__(self, causal):
        super().__init__()
        self.causal, self.qkv = causal, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, -1)
        triangle = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        if self.causal == "written":
            logits = (query @ key.mT).masked_fill(~triangle, float("-inf"))
            return x + logits.softmax(-1) @ value
        mask = triangle if self.causal == "mask" else None
        return x + functional.scaled_dot_product_attention(query, key, value, mask, is_causal=self.causal == "flag")


class Encoder(nn.Module):
    """A class token, two attentions, and a head that reads one position, all of them, or that of the class token."""

    def __init__(self, causal, read):
        super().__init__()
        self.read, self.token = read, nn.Parameter(torch.randn(1, 1, WIDTH))
        self.embed, self.attention = nn.Linear(3, WIDTH), nn.Sequential(Attention(causal), Attention(causal))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, x):
        x = self.embed(x)
        x = self.attention(torch.cat([self.token.expand(len(x), -1, -1), x], 1))
        if self.read == "mean":
            return self.head(self.norm(x.mean(1)))
        if self.read == "matrix":
            return self.norm(x)[:, 0] @ self.head.weight.mT
        return self.head(self.norm(x[:, -1 if self.read == "last" else 0]))


def findings_of(folder, causal, read="first"):
    torch.manual_seed(0)
    model = Encoder(causal, read)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    names = torch.randn(8, 4)
    with eg.watch(model, optimizer, out=folder, every=1, rules=[CausalBeforeFirst()]):
        for _ in range(6):
            embeddings = functional.normalize(model(torch.randn(8, TOKENS, 3)), dim=-1)
            functional.cross_entropy(embeddings @ names.T, torch.arange(8)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return eg.load(folder).findings


@pytest.mark.parametrize("read", ["first", "matrix"])
@pytest.mark.parametrize("causal", ["flag", "mask", "written"])
def test_a_class_token_that_sees_itself_alone_is_named(tmp_path, causal, read):
    [finding] = findings_of(tmp_path, causal, read)
    assert finding.code == "EG108"
    assert finding.site.startswith("attention.1")
    assert finding.focus == ("norm" if read == "first" else finding.focus)


@pytest.mark.parametrize(("causal", "read"), [("", "first"), ("flag", "last"), ("flag", "mean"), ("mask", "last")])
def test_an_encoder_that_reads_what_has_seen_the_sample_is_silent(tmp_path, causal, read):
    assert findings_of(tmp_path, causal, read) == []


def test_a_function_put_in_place_of_the_fused_attention_hides_nothing(tmp_path, monkeypatch):
    plain = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", lambda *given, **named: plain(*given, **named))
    assert [finding.code for finding in findings_of(tmp_path, "flag")] == ["EG108"]
