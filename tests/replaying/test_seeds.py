"""What a replay adds to the seeds that a program sets."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from edgeglass_diag.replaying import seeds


@pytest.fixture
def shifted(monkeypatch):
    """The seeds of this process with 3 added, until the test ends."""
    for module in (torch, torch.random, torch.cuda, torch.cuda.random, torch.mps, torch.xpu, torch.xpu.random):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name))
    for owner, name in ((random, "seed"), (np.random, "seed"), (np.random, "default_rng"), (torch, "Generator")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    with torch.random.fork_rng(devices=[]):
        seeds.shift_python(3)
        seeds.seed_torch(3)
        yield


def test_each_seed_is_shifted_once(shifted):
    torch.manual_seed(4)
    assert torch.initial_seed() == 7
    torch.random.manual_seed(seed=5)
    assert torch.initial_seed() == 8
    random.seed(4)
    assert random.random() == random.Random(7).random()
    np.random.seed(2**32 - 1)
    assert np.random.rand() == np.random.RandomState(2).rand()
    assert np.random.default_rng(4).random() == np.random.Generator(np.random.PCG64(7)).random()
    assert np.random.default_rng([4, 1]).random() == np.random.Generator(np.random.PCG64([7, 1])).random()


def test_a_generator_of_torch_is_shifted_and_stays_one(shifted):
    generator = torch.Generator().manual_seed(4)
    assert generator.initial_seed() == 7
    assert isinstance(generator, torch.Generator)
    assert isinstance(torch.default_generator, torch.Generator)
    assert torch.equal(
        torch.rand(3, generator=generator), torch.rand(3, generator=torch.Generator("cpu").manual_seed(4))
    )


def test_what_asks_for_chance_still_gets_it(shifted):
    assert np.random.default_rng().random() != np.random.default_rng(None).random()
    random.seed(None)
    random.seed("words")
    assert random.random() == random.Random("words3").random()


def test_nothing_is_replaced_without_an_offset(monkeypatch):
    before = torch.manual_seed, torch.Generator, random.seed, np.random.seed, np.random.default_rng
    with torch.random.fork_rng(devices=[]):
        seeds.shift_python(0)
        seeds.seed_torch(0)
    assert before == (torch.manual_seed, torch.Generator, random.seed, np.random.seed, np.random.default_rng)
