"""Too little data, and pictures of noise: each with a training that comes near it and is healthy."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.rules.pictures import PicturesOfNoise
from edgeglass_diag.rules.samples import DataSmallerThanBatch, SamplesSeenOften

RULES = (DataSmallerThanBatch, SamplesSeenOften, PicturesOfNoise)
SIDE = 24


class Captioner(nn.Module):
    """Reads texts and, where there are some, pictures."""

    def __init__(self):
        super().__init__()
        self.words, self.pixels = nn.Embedding(50, 8), nn.LazyLinear(8)

    def forward(self, words, pictures=None):
        seen = 0 if pictures is None else self.pixels(pictures.float().flatten(1) / 255)
        return self.words(words).mean(1) + seen


def found(folder, batches):
    torch.manual_seed(0)
    model = Captioner()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=folder, every=1, rules=[rule() for rule in RULES]):
        for batch in batches:
            model(*batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return {finding.code: finding for finding in eg.load(folder).findings}


def texts(rows, *, pick, steps=16, batch=32):
    torch.manual_seed(1)
    data = torch.randint(1, 50, (rows, 6))
    return [(pick(data, rows, batch),) for _ in range(steps)]


def drawn(data, rows, batch):
    return data[torch.randint(rows, (batch,))]


def test_a_subset_left_from_a_trial(tmp_path):
    finding = found(tmp_path, texts(20, pick=drawn))["EG510"]
    assert finding.message.startswith("Fewer different samples than a batch holds: 20 different ones among the 512")
    assert finding.severity == "warning"


@pytest.mark.parametrize("rows", [32, 200])
def test_a_small_data_set_is_not(tmp_path, rows):
    shuffled = texts(rows, pick=lambda data, rows, batch: data[torch.randperm(rows)[:batch]])
    assert "EG510" not in found(tmp_path, shuffled)


def test_each_sample_twice_in_its_batch_is_not(tmp_path):
    twice = texts(400, pick=lambda data, rows, batch: data[torch.randperm(rows)[: batch // 2]].repeat(2, 1))
    assert "EG510" not in found(tmp_path, twice)


def test_one_batch_fitted_on_purpose_is_not(tmp_path):
    assert "EG510" not in found(tmp_path, texts(20, pick=lambda data, rows, batch: data.repeat(2, 1)))


def test_few_prompts_with_many_pictures_are_not(tmp_path):
    batches = [(words, torch.randn(32, 3, 4, 4)) for (words,) in texts(5, pick=drawn)]
    assert "EG510" not in found(tmp_path, batches)


def test_samples_seen_often_are_a_fact(tmp_path):
    often = found(tmp_path / "often", texts(40, pick=drawn, steps=60))["EG511"]
    assert often.severity == "info"
    assert "about 40 different ones, each 48 times" in often.message
    assert "EG511" not in found(tmp_path / "few", texts(400, pick=drawn, steps=60))


def scenes(change=lambda pictures: pictures, steps=5):
    torch.manual_seed(2)
    words = torch.randint(1, 50, (16, 6))
    coarse = [torch.rand(16, 3, 6, 6) for _ in range(steps)]
    return [(words, change(F.interpolate(one, size=SIDE, mode="bilinear"))) for one in coarse]


def wrapped(pictures):
    """Pixels of 0 to 255 that were multiplied by 255 once more, with what a camera adds, and resized."""
    seen = pictures + 0.02 * torch.randn_like(pictures)
    return F.interpolate((seen * 255 * 255).byte().float(), size=32, mode="bicubic")


ILL = {
    "noise": lambda pictures: 10 * (pictures + torch.randn_like(pictures)),
    "bytes": lambda pictures: (255 * (pictures + 2 * torch.randn_like(pictures))).long().remainder(256).byte(),
    "channels last": lambda pictures: (pictures + torch.randn_like(pictures)).movedim(1, -1),
    "wrapped bytes, resized": wrapped,
    "small, drowned in uniform noise": lambda pictures: (
        (0.02 * (small := pictures[..., :16, :16])) + torch.rand_like(small)
    ),
}
HEALTHY = {
    "pictures": lambda pictures: pictures,
    "camera": lambda pictures: pictures + 0.05 * torch.randn_like(pictures),
    "bytes": lambda pictures: (255 * pictures).byte(),
    "diffusion": lambda pictures: (
        (level := torch.linspace(0, 1, 16).view(-1, 1, 1, 1)) * pictures + (1 - level) * torch.randn_like(pictures)
    ),
    "dots": lambda pictures: (torch.rand_like(pictures) < 0.03).float(),
    "stripes": lambda pictures: pictures.round() + torch.arange(SIDE).remainder(2),
    "permuted pixels": lambda pictures: pictures[..., torch.randperm(SIDE), :][..., torch.randperm(SIDE)],
}


@pytest.mark.parametrize("change", ILL.values(), ids=ILL.keys())
def test_pictures_drowned_in_noise(tmp_path, change):
    assert found(tmp_path, scenes(change))["EG512"].severity == "warning"


@pytest.mark.parametrize("change", HEALTHY.values(), ids=HEALTHY.keys())
def test_pictures_that_are_none(tmp_path, change):
    assert "EG512" not in found(tmp_path, scenes(change))


def test_what_torch_draws_is_a_fact(tmp_path):
    assert found(tmp_path, scenes(torch.randn_like))["EG512"].severity == "info"


def test_patterns_drawn_for_each_class_that_are_learned_are_a_fact(tmp_path):
    torch.manual_seed(0)
    patterns = torch.randn(20, 3, 12, 12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 20))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=tmp_path, every=1, rules=[PicturesOfNoise()]):
        for _ in range(40):
            labels = torch.randint(20, (64,))
            F.cross_entropy(model(patterns[labels] + 0.3 * torch.randn(64, 3, 12, 12)), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    (finding,) = eg.load(tmp_path).findings
    assert (finding.code, finding.severity) == ("EG512", "info")
    assert finding.message.endswith("the model learns from them all the same")
