"""Torch code of many kinds runs as it does unwatched."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.schedule import Schedule


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_frozen_encoder_takes_the_same_fused_path_as_unwatched():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1).eval().requires_grad_(False)
    padding = torch.tensor([[False, False, True], [False, True, True]])
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=padding)
        with Recorder(Schedule(), lambda w: None):
            assert torch.equal(encoder(x, src_key_padding_mask=padding), expected)


@pytest.mark.parametrize(
    "act",
    [
        lambda: torch.eye(5).to_sparse().float(),
        lambda: torch.vmap(lambda x: (x * 2).clone())(torch.randn(3, 2)),
        lambda: nn.Linear(2, 2, device="meta")(torch.randn(3, 2, device="meta")),
        lambda: nn.LazyLinear(3)(torch.randn(2, 4)),
        lambda: torch.zeros(3).copy_(other=torch.ones(3)),
        lambda: torch._foreach_mul_([torch.ones(2)], scalar=2.0),
        lambda: nn.Linear(2, 2)(input=torch.randn(3, 2)),
        lambda: F.cross_entropy(input=torch.randn(3, 4), target=torch.full((3, 4), 0.25)),
        lambda: torch.einsum("ij,kj->ik", [torch.randn(2, 3), torch.randn(4, 3)]),
        lambda: torch.jit.trace(nn.Linear(2, 2), torch.randn(3, 2), check_trace=False),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_recorder_raises_into_no_torch_code(act):
    with Recorder(Schedule(), lambda w: None):
        act()


def test_a_new_optimizer_takes_over_the_windows():
    windows, model = [], nn.Linear(3, 3)

    def step(optimizer):
        model(torch.randn(2, 3)).square().sum().backward()
        optimizer.step()

    with Recorder(lambda step: True, lambda w: windows.append(w)):
        first, second = torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.SGD(model.parameters(), lr=0.1)
        for optimizer in [first] * 3 + [second] * 4:
            step(optimizer)
    assert len(windows) >= 6
