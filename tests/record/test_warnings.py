"""Warnings that torch gives about a line of the user are about that line when it is watched too."""

import warnings

import pytest
import torch
from torch import nn

from tests.helpers.loops import record


def train(read):
    """Three steps that read the loss; return the warnings as (message, file, line), with Python's usual filter."""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            loss = model(torch.randn(2, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            read(loss)
            optimizer.step()
    return [(str(warning.message), warning.filename, warning.lineno) for warning in caught]


def as_number(loss):
    return float(loss)


def shaped(loss):
    return torch.nn.functional.mse_loss(loss, torch.zeros(2, 1))


@pytest.fixture
def warns_always():
    """Torch itself gives some warnings once per process only."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.parametrize("read", [as_number, shaped])
@pytest.mark.usefixtures("warns_always")
def test_a_warning_tells_the_users_line_and_comes_once(read):
    globals().pop("__warningregistry__", None)
    expected = train(read)
    globals().pop("__warningregistry__", None)
    assert record(lambda: train(read))[0] == expected
    assert [(file, line) for _, file, line in expected] == [(__file__, read.__code__.co_firstlineno + 1)]
