"""Masks that belong to other texts, and those that only look like it."""

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.measures.padding_masks import mask_fit
from edgeglass_diag.rules.padding_masks import MaskOfOtherTexts

RULES = (MaskOfOtherTexts,)
SAMPLES, LENGTH, PAD, END = 8, 12, 0, 1


def texts(seed, same_length=False):
    """Tokens (B, L) that end with END and are padded at the right."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, LENGTH - 2, (SAMPLES, 1), generator=generator)
    lengths = lengths[:1].expand_as(lengths) if same_length else lengths
    place = torch.arange(LENGTH)
    words = torch.randint(2, 50, (SAMPLES, LENGTH), generator=generator)
    return torch.where(place < lengths, words, torch.where(place == lengths, END, PAD))


class Mean(nn.Module):
    """The mean embedding of the tokens that a mask leaves."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 4)

    def forward(self, tokens, attention_mask):
        seen = attention_mask.float().unsqueeze(-1)
        return (self.words(tokens) * seen).sum(1) / seen.sum(1).clamp(min=1)


def right(tokens):
    return tokens != PAD


def prompt(tokens):
    return (torch.arange(LENGTH) < 5).long().expand_as(tokens)


ILL = {
    "of the first row": lambda tokens: right(tokens)[:1].expand_as(tokens),
    "of the first row, left-padded": lambda tokens: right(tokens)[:1].expand_as(tokens).flip(-1),
    "of the rows in another order": lambda tokens: right(tokens).roll(1, 0).long(),
    "hidden where True, of the last row": lambda tokens: ~right(tokens)[-1:].expand_as(tokens),
}
HEALTHY = {
    "right": right,
    "right, as numbers": lambda tokens: right(tokens).float(),
    "without the end token": lambda tokens: (tokens != PAD) & (tokens != END),
    "all seen": torch.ones_like,
    "a fixed prompt": prompt,
    "one word in ten left out": lambda tokens: right(tokens) & (tokens % 10 != 3),
    "the first half of each text, as a loss takes it": lambda tokens: (
        torch.arange(LENGTH) < (right(tokens).sum(1, keepdim=True) // 2 - 1)
    ),
}


def findings_of(folder, mask, flip=False, same_length=False):
    torch.manual_seed(0)
    model = Mean()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with eg.watch(model, optimizer, out=folder, every=1, rules=[MaskOfOtherTexts()]):
        for step in range(5):
            tokens = texts(step, same_length)
            model(tokens.flip(-1) if flip else tokens, attention_mask=mask(tokens)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return eg.load(folder).findings


@pytest.mark.parametrize("name", ILL)
def test_a_mask_of_other_texts_is_named(tmp_path, name):
    [finding] = findings_of(tmp_path, ILL[name], flip="left" in name)
    assert finding.code == "EG523"
    assert finding.site == "attention_mask"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_mask_of_another_kind_is_silent(tmp_path, name):
    assert findings_of(tmp_path, HEALTHY[name]) == []


def test_texts_of_one_length_share_their_mask(tmp_path):
    assert findings_of(tmp_path, ILL["of the first row"], same_length=True) == []


def test_a_mask_that_is_inverted_is_no_other_texts():
    tokens = texts(0)
    assert mask_fit(~right(tokens), tokens).misfit == 0


def test_integers_that_are_no_tokens_tell_nothing():
    assert mask_fit(torch.ones(4, 6), torch.full((4, 6), -100)).misfit.isnan()
