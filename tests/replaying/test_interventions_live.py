import torch
from torch import nn

from edgeglass_diag.replaying.interventions.live import LiveTraining


def test_a_model_is_there_once_before_its_first_pass_with_gradients_and_numbers_stay_the_same():
    model, inputs = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.ones(1, 3)
    torch.manual_seed(0)
    expected = torch.rand(3)
    training, seen = LiveTraining(), []
    training.before_first_pass(lambda root: seen.append((root, torch.rand(1))))
    training.attach()
    try:
        torch.manual_seed(0)
        with torch.no_grad():
            model(inputs)
        assert seen == []
        model(inputs)
        model(inputs)
        assert torch.equal(torch.rand(3), expected)
    finally:
        training.remove()
    assert [root for root, _ in seen] == [model]
    assert [name for name, _ in training.parameters()] == ["0.weight", "0.bias"]
    assert [each for _, each in training.parameters("0.bias")] == [model[0].bias]
    assert training.module("0") is model[0]
    assert training.module("elsewhere") is None


def test_a_model_whose_parts_alone_are_called_is_met_too():
    model, seen = nn.ModuleDict({"tower": nn.Linear(3, 2)}), []
    training = LiveTraining()
    training.before_first_pass(seen.append)
    training.attach()
    try:
        model["tower"](torch.ones(1, 3))
    finally:
        training.remove()
    assert seen == [model]
