"""What the recorder leaves out to be cheap, and what must not change by it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder, activations


class Passes(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.two(self.one(x).relu_())


def train(steps, passes=1):
    windows = []
    torch.manual_seed(0)
    with Recorder(lambda step: True, windows.append):
        model = Passes()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(steps):
            for index in range(passes):
                batch = torch.randn(8, 6, generator=torch.Generator().manual_seed(100 * step + index))
                F.mse_loss(model(batch), batch).backward()
            optimizer.step()
            optimizer.zero_grad()
    return [{(r.site, r.signal): r.values for r in window.resolve().readings} for window in windows], model


def test_weights_are_weighed_at_the_start_and_every_tenth_step_then():
    got, model = train(35)
    names = [name for name, _ in model.named_parameters()]
    for name in names:
        assert [step for step, window in enumerate(got) if (name, "weight/norm") in window] == [*range(11), 20, 30]
        assert all((name, "gradient/norm") in window and (name, "update/ratio") in window for window in got)


def test_a_window_reduced_in_parts_reads_as_one_reduced_at_its_end(monkeypatch):
    whole, _ = train(2, passes=5)
    monkeypatch.setattr(activations, "_KEPT", 40)
    parts, _ = train(2, passes=5)
    assert parts[1].keys() == whole[1].keys()
    assert all(parts[1][key] == pytest.approx(values, nan_ok=True) for key, values in whole[1].items())


def test_an_activation_written_over_later_is_measured_as_it_was():
    got, _ = train(1)
    with torch.no_grad():
        torch.manual_seed(0)
        untouched = Passes().one(torch.randn(8, 6, generator=torch.Generator().manual_seed(0)))
    assert got[0]["one", "activation/rms"][0] == pytest.approx(float(untouched.square().mean().sqrt()), rel=1e-5)
