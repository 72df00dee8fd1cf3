"""A batch that comes again, from a loader that does not shuffle or as the whole data set; labels that are no texts."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import edgeglass_diag as eg
from edgeglass_diag.records import Severity


def findings(folder, batch):
    """Train a classifier; ``batch(step)`` returns its inputs and labels."""
    torch.manual_seed(0)
    model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with eg.watch(model, optimizer, out=folder, rules=["EG501"]) as watch:
        for step in range(5):
            inputs, labels = batch(step)
            functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    return {finding.code: finding.severity for finding in watch.findings}


def samples(count):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 4


@pytest.mark.parametrize(
    ("count", "batch", "severity"),
    [
        (64, lambda data: lambda step: data, Severity.INFO),
        (64, lambda data: lambda step: tuple(part.clone() for part in data), Severity.WARNING),
        (8, lambda data: lambda step: data, Severity.WARNING),
    ],
    ids=["the whole data set", "a loader made anew", "too few to be a data set"],
)
def test_one_batch_in_all_steps(tmp_path, count, batch, severity):
    assert findings(tmp_path / "run", batch(samples(count))) == {"EG501": severity}


def taught(folder, order):
    """Train a teacher and then its student; ``order(training, step)`` returns which of the batches each step takes."""
    torch.manual_seed(0)
    batches = [torch.randn(16, 6) for _ in range(12)]
    with eg.watch(out=folder, every=1, rules=["EG501"]) as watch:
        teacher = nn.Linear(6, 4)
        for training, model in enumerate((teacher, nn.Linear(6, 4))):
            optimizer = torch.optim.Adam(model.parameters())
            for step in range(6):
                inputs = batches[order(training, step)].clone()
                targets = teacher(inputs).softmax(-1).detach() if training else inputs[:, :4].argmax(1)
                functional.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
    return {finding.code for finding in watch.findings}


def test_a_student_may_see_the_batches_of_its_teacher(tmp_path):
    assert taught(tmp_path / "seeded", lambda training, step: step) == set()


def test_a_student_that_sees_one_batch_is_named(tmp_path):
    assert taught(tmp_path / "stuck", lambda training, step: 0 if training else step) == {"EG501"}


class Captioner(nn.Module):
    """Is given its labels, of which most positions are ignored."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, input_ids, labels):
        return functional.cross_entropy(self.head(self.table(input_ids)).flatten(0, 1), labels.flatten())


@pytest.mark.parametrize(("context", "padded"), [(8, set()), (200, {"input_ids"})])
def test_labels_are_no_texts_and_texts_may_be_mostly_padding(tmp_path, context, padded):
    model = Captioner()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with eg.watch(model, optimizer, out=tmp_path / "run", rules=["EG506"]) as watch:
        for _ in range(5):
            ids = functional.pad(torch.randint(1, 20, (16, 6)), (0, context - 6))
            labels = torch.full_like(ids, -100)
            labels[:, 0] = ids[:, 0]
            model(input_ids=ids, labels=labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert {finding.site for finding in watch.findings} == padded
