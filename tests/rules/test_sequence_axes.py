"""Sequences that are read along the samples, beside those that are read as they lie."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.sequence_axes import SequenceAlongSamples

RULES = (SequenceAlongSamples,)
BATCH, TOKENS, WIDTH = 6, 5, 16


class Reader(nn.Module):
    """Embeds tokens (B, T), reads them by ``inner`` and answers by ``pool`` of what it gives."""

    def __init__(self, inner, pool, prepare=lambda x: x):
        super().__init__()
        self.words, self.inner, self.head = nn.Embedding(20, WIDTH), inner, nn.Linear(WIDTH, 3)
        self.pool, self.prepare = pool, prepare

    def forward(self, tokens):
        read = self.inner(self.prepare(self.words(tokens)))
        return self.head(self.pool(read[0] if isinstance(read, tuple) else read))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def forward(self, x):
        return self.attention(query=x, key=x, value=x, need_weights=False)


class TurningAttention(nn.MultiheadAttention):
    """Takes (B, T, D) by a ``forward`` of its own, which turns it for torch's."""

    def forward(self, x):
        x = x.transpose(0, 1)
        return super().forward(x, x, x, need_weights=False)[0].transpose(0, 1)


def encoder(**options):
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 32, **options), 2, enable_nested_tensor=False)


def last(read):
    return read[:, -1]


def turned(x):
    return x.transpose(0, 1)


ILL = {
    "lstm": lambda: Reader(nn.LSTM(WIDTH, WIDTH), last),
    "gru": lambda: Reader(nn.GRU(WIDTH, WIDTH), lambda read: read.mean(1)),
    "encoder": lambda: Reader(encoder(), last),
    "attention by keywords": lambda: Reader(SelfAttention(), last),
}
HEALTHY = {
    "batch first": lambda: Reader(nn.LSTM(WIDTH, WIDTH, batch_first=True), last),
    "encoder, batch first": lambda: Reader(encoder(batch_first=True), last),
    "turned before": lambda: Reader(nn.LSTM(WIDTH, WIDTH), lambda read: read[-1], turned),
    "encoder, turned before": lambda: Reader(encoder(), lambda read: read[-1], turned),
    "turned in a forward of its own": lambda: Reader(TurningAttention(WIDTH, 2), last),
    "a batch of vectors": lambda: Reader(encoder(), lambda read: read[:, 0], lambda x: x.mean(1, keepdim=True)),
    "two views in one batch": lambda: Reader(
        encoder(), lambda read: read[0, :BATCH], lambda x: turned(torch.cat([x, x])[:, :1].expand(-1, BATCH, -1))
    ),
}


def findings(folder, model, batch=lambda: torch.randint(20, (BATCH, TOKENS)), labels=BATCH):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with eg.watch(model, optimizer, out=folder, every=1, rules=[SequenceAlongSamples()]):
        for _ in range(4):
            F.cross_entropy(model(batch()), torch.arange(labels) % 3).backward()
            optimizer.step()
            optimizer.zero_grad()
    return eg.load(folder).findings


@pytest.mark.parametrize("make", ILL.values(), ids=ILL.keys())
def test_samples_read_as_a_sequence_are_named(tmp_path, make):
    torch.manual_seed(0)
    (finding,) = findings(tmp_path, make())
    assert (finding.code, finding.severity) == ("EG110", "warning")
    assert finding.site.startswith("inner")
    assert "reads 6 samples as a sequence of as many since step" in finding.message


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY.keys())
def test_what_reads_its_own_sequence_is_silent(tmp_path, make):
    torch.manual_seed(0)
    assert findings(tmp_path, make()) == []


def test_time_first_data_is_silent(tmp_path):
    model = Reader(nn.LSTM(WIDTH, WIDTH), lambda read: read[-1])
    assert findings(tmp_path, model, batch=lambda: torch.randint(20, (TOKENS, BATCH))) == []


def test_labels_of_each_position_are_silent(tmp_path):
    model = Reader(nn.LSTM(WIDTH, WIDTH), lambda read: read.flatten(0, 1))
    time_first = findings(tmp_path, model, batch=lambda: torch.randint(20, (TOKENS, BATCH)), labels=BATCH * TOKENS)
    assert time_first == []
