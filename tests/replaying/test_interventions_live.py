import sysconfig
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim import Optimizer

from edgeglass_diag.replaying.interventions.live import LiveTraining
from edgeglass_diag.replaying.interventions.places import line_of_program


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


class Plain(Optimizer):
    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})


def test_optimizers_and_schedulers_are_known_with_the_line_that_made_them():
    training = LiveTraining()
    training.attach(models=False)
    try:
        first = Plain([nn.Parameter(torch.ones(1))])
        second = torch.optim.AdamW([nn.Parameter(torch.ones(1))])
        scheduler = torch.optim.lr_scheduler.StepLR(first, 1)
        with pytest.raises(ValueError):  # noqa: PT011  torch's own
            torch.optim.SGD([])
    finally:
        training.remove()
    assert training.optimizers == [first, second]
    lines = [training.line_of(made).line for made in (first, second, scheduler)]
    assert lines == [lines[0], lines[0] + 1, lines[0] + 2]
    assert training.line_of(first).file == __file__
    assert training.line_of_schedule(first) == training.line_of(scheduler)
    assert training.line_of_schedule(second) is None
    assert training.line_of(Plain([nn.Parameter(torch.ones(1))])) is None
    assert training.optimizers == [first, second]


def test_a_line_of_an_installed_library_is_none_of_the_program():
    code = "def configure(make):\n    return make()\n"
    library = {}
    exec(compile(code, str(Path(sysconfig.get_path("purelib")) / "library.py"), "exec"), library)
    assert library["configure"](line_of_program).file == __file__
    inner = {}
    exec(compile("def run(call):\n    return call()\n", "/programs/own/train.py", "exec"), inner)
    assert library["configure"](lambda: inner["run"](line_of_program)).file == "/programs/own/train.py"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.body(x).relu())


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_compiled_no_more_often_and_met_unless_it_is_compiled_in_place(in_place):
    def compilations(*, watched):
        torch._dynamo.reset()
        counter = CompileCounter()
        model = Net()
        if in_place:
            model.compile(backend=counter, fullgraph=True)
        else:
            model = torch.compile(model, backend=counter, fullgraph=True)
        training, seen = LiveTraining(), []
        training.before_first_pass(seen.append)
        if watched:
            training.attach()
        try:
            for _ in range(3):
                model(torch.ones(1, 3)).sum().backward()
        finally:
            training.remove()
        return counter.frame_count, seen, [name for name, _ in training.parameters()]

    plain, _, _ = compilations(watched=False)
    count, seen, names = compilations(watched=True)
    assert count == plain
    assert len(seen) == (not in_place)
    assert names == ([] if in_place else ["body.weight", "body.bias", "head.weight", "head.bias"])
