"""Scripted and traced modules: what runs in them is named as compiled, and the recorder does not fail there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.sites import Coverage, Kind


class Net(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")


def scripted():
    return torch.jit.script(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True))


def traced():
    return torch.jit.trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), torch.randn(2, 3, 8))


def train(model, steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        loss = F.cross_entropy(model(torch.randn(6, 3, 8)), torch.arange(6) % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("make", [scripted, traced])
def test_what_torch_jit_made_is_recorded_at_its_border(make):
    def run(watch):
        torch.manual_seed(0)
        model = Net(make())
        if not watch:
            return train(model), []
        windows = []
        with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
            return train(model), windows

    run(watch=False)  # the first training of a scripted class draws numbers that later ones do not
    (plain, _), (watched, windows) = run(watch=False), run(watch=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    sites = {site.path: site.coverage for window in windows for site in window.sites if site.kind is Kind.MODULE}
    assert sites["encoder"] is sites["head"] is Coverage.OBSERVED
    inner = [coverage for path, coverage in sites.items() if path.startswith("encoder.")]
    assert inner
    assert set(inner) == {Coverage.COMPILED}
    assert not any(site.coverage is Coverage.RECORDER_FAILED for window in windows for site in window.sites)


def test_the_attention_of_a_scripted_encoder_says_why_it_is_not_seen():
    windows = []
    torch.manual_seed(0)
    with Recorder(lambda step: True, lambda w: windows.append(w.resolve())):
        train(Net(scripted()))
    found = [site for window in windows for site in window.sites if site.kind is Kind.ATTENTION]
    assert {(site.path, site.coverage) for site in found} == {
        ("encoder.self_attn.attention", Coverage.COMPILED_ATTENTION)
    }
