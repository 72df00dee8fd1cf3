"""Loaders that go through a data set in its order draw from it at random."""

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.replaying.interventions import attach_all
from edgeglass_diag.replaying.interventions.functions import put_all_back

NUMBERS = TensorDataset(torch.arange(64))


@pytest.fixture
def redrawn():
    (means,) = attach_all([Intervention("data.batches_redrawn")])
    yield means
    put_all_back()


def first_of(loader):
    return next(iter(loader))[0].tolist()


@pytest.mark.parametrize("given", [{}, {"shuffle": False}, {"sampler": SequentialSampler(NUMBERS)}])
def test_a_loader_in_order_draws_anew_each_time(redrawn, given):
    loader = DataLoader(NUMBERS, 8, **given)
    assert len({tuple(first_of(loader)) for _ in range(4)}) == 4
    assert sorted(int(number) for batch in loader for number in batch[0]) == list(range(64))
    assert redrawn.applied == 1


def test_positions_are_kept(redrawn):
    loader = DataLoader(NUMBERS, 8, False, SequentialSampler(NUMBERS))
    assert first_of(loader) != list(range(8))
    loader = DataLoader(NUMBERS, 1, False, None, [[3, 4]], 0)
    assert first_of(loader) == [3, 4]


@pytest.mark.parametrize(
    "given",
    [{"shuffle": True}, {"sampler": RandomSampler(NUMBERS)}, {"sampler": range(8)}],
    ids=["drawn", "own", "list"],
)
def test_one_that_draws_or_has_a_sampler_of_its_own_stays(redrawn, given):
    torch.manual_seed(0)
    first_of(DataLoader(NUMBERS, 8, **given))
    assert redrawn.applied == 0


def test_a_distributed_sampler_takes_another_order_in_each_epoch(redrawn):
    loader = DataLoader(NUMBERS, 8, sampler=DistributedSampler(NUMBERS, num_replicas=2, rank=0))
    assert first_of(loader) != first_of(loader)
    assert redrawn.applied == 2
