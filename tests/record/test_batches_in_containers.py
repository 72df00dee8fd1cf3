"""What a model is called with is read also where it is nested: dicts, dataclasses, what tokenizers make, lists."""

from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import edgeglass_diag as eg
from edgeglass_diag.rules.batches import RepeatedBatches


@dataclass
class Batch:
    pixels: Tensor
    words: Tensor


Named = namedtuple("Named", ["pixels", "words"])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(6, 8), nn.Linear(5, 8)

    def forward(self, batch):
        pixels, words = self.read(batch)
        return (self.image(pixels) * self.text(words)).sum()


CONTAINERS = {
    "dict": (lambda p, w: {"pixels": p, "words": w}, lambda b: (b["pixels"], b["words"])),
    "dataclass": (Batch, lambda b: (b.pixels, b.words)),
    "user dict": (lambda p, w: UserDict(pixels=p, words=w), lambda b: (b["pixels"], b["words"])),
    "namespace": (lambda p, w: SimpleNamespace(pixels=p, words=w), lambda b: (b.pixels, b.words)),
    "list": (lambda p, w: [p, w], tuple),
    "named tuple": (Named, tuple),
    "dict in a list": (lambda p, w: [{"pixels": p}, w], lambda b: (b[0]["pixels"], b[1])),
}
PATHS = {"list": ["input0.0", "input0.1"], "named tuple": ["input0.0", "input0.1"],
         "dict in a list": ["input0.0.pixels", "input0.1"]}  # fmt: skip


def train(folder, container, *, repeated):
    make, read = CONTAINERS[container]
    torch.manual_seed(0)
    model = Model()
    model.read = read
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    drawn, times = (1, 24) if repeated else (24, 1)
    batches = [make(torch.randn(8, 6), torch.randn(8, 5)) for _ in range(drawn)] * times
    with eg.watch(model, optimizer, out=folder, rules=[RepeatedBatches()]):
        for batch in batches:
            model(batch).backward()
            optimizer.step()
            optimizer.zero_grad()
    run = eg.load(folder)
    return [site.path for site in run.sites if site.kind == "data"], [finding.code for finding in run.findings]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_repeated_batch_is_seen_in_any_container(container, tmp_path):
    paths, findings = train(tmp_path / "ill", container, repeated=True)
    assert paths == PATHS.get(container, ["input0.pixels", "input0.words"])
    assert findings == ["EG501"]


def test_batches_that_differ_are_silent(tmp_path):
    assert train(tmp_path / "healthy", "dict", repeated=False)[1] == []
