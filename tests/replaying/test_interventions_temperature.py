"""The temperature of a loss is changed however the loss is written."""

import pytest
import torch
from torch.nn import functional as F

from tests.helpers.interventions import placed

ROWS = 6
LABELS = torch.arange(ROWS)


def sides():
    torch.manual_seed(0)
    image, text = torch.randn(ROWS, 4, requires_grad=True), torch.randn(ROWS, 4, requires_grad=True)
    return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


def with_logsumexp(image, text):
    scores = image @ text.T
    return (torch.logsumexp(scores, dim=1) - scores.diagonal()).mean()


LOSSES = {
    "cross_entropy": lambda image, text: F.cross_entropy(image @ text.T, LABELS),
    "a log_softmax of a function": lambda image, text: -F.log_softmax(image @ text.T, dim=-1).diagonal().mean(),
    "a log_softmax of a tensor": lambda image, text: -(image @ text.T).log_softmax(-1).diagonal().mean(),
    "nll_loss": lambda image, text: F.nll_loss(torch.log_softmax(image @ text.T, 1), LABELS),
    "logsumexp": with_logsumexp,
}


@pytest.mark.parametrize("written", LOSSES)
def test_the_temperature_of_a_loss(written):
    loss = LOSSES[written]
    plain, scaled = loss(*sides()), loss(5 * sides()[0], sides()[1])
    with placed("loss.temperature", 5.0) as means:
        loss(*sides())  # the product of a loss that is written out is known after its first pass
        again = loss(*sides())
    assert means.applied >= 1
    assert again.item() == pytest.approx(scaled.item(), rel=1e-5)
    assert again.item() != pytest.approx(plain.item(), rel=1e-2)


@pytest.mark.parametrize("written", LOSSES)
def test_an_evaluation_stays(written):
    loss = LOSSES[written]
    plain = loss(*sides())
    with placed("loss.temperature", 5.0):
        loss(*sides())
        with torch.no_grad():
            assert loss(*sides()).item() == plain.item()
