"""EG320: a queue that is filled, and one that keeps its noise."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import edgeglass_diag as eg
from edgeglass_diag.rules.negatives import NegativesNeverChange

RULES = (NegativesNeverChange,)


class Contrast(nn.Module):
    """A query encoder, a frozen key encoder and a queue of keys."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(32, 16), nn.Linear(32, 16)
        self.key.load_state_dict(self.query.state_dict())
        self.key.requires_grad_(False)
        self.register_buffer("queue", normalize(torch.randn(16, 64), dim=0))

    def forward(self, first, second):
        queries = normalize(self.query(first), dim=1)
        with torch.no_grad():
            keys = normalize(self.key(second), dim=1)
        partners = torch.einsum("nc,nc->n", queries, keys).unsqueeze(-1)
        strangers = torch.einsum("nc,ck->nk", queries, self.queue.clone())
        return torch.cat([partners, strangers], 1) / 0.1, keys


def found(folder, *, fills, common=4.0):
    torch.manual_seed(0)
    model, ground = Contrast(), common * torch.randn(32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=folder, every=4, rules=[NegativesNeverChange()]):
        for _ in range(30):
            rows = torch.randn(16, 32) + ground
            logits, keys = model(rows, rows + 0.1 * torch.randn_like(rows))
            cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)).backward()
            optimizer.step()
            optimizer.zero_grad()
            if fills:
                model.queue = torch.cat([model.queue[:, 16:], keys.T], 1)
    return [finding for finding in eg.load(folder).findings if finding.code == "EG320"]


def test_a_queue_that_is_never_filled_is_named(tmp_path):
    (finding,) = found(tmp_path, fills=False)
    assert finding.severity == "warning"
    assert finding.message.startswith("Negatives are noise that never changes: the rows that query[:16] is kept apart")


@pytest.mark.parametrize("common", [0.0, 4.0])
def test_a_queue_that_is_filled_is_silent(tmp_path, common):
    assert found(tmp_path, fills=True, common=common) == []
