"""The bootstrap interval against SciPy-free arithmetic: its width, its clusters, its determinism."""

import pytest
import torch

from edgeglass_diag.measures.bootstrap import bootstrap_interval


def test_the_width_is_that_of_the_normal_approximation():
    values = (torch.rand(4000, 1, generator=torch.Generator().manual_seed(1)) < 0.3).double()
    low, high = bootstrap_interval(values, torch.arange(4000), resamples=4000)
    mean = values.mean()
    assert float(high - low) == pytest.approx(2 * 1.96 * float((mean * (1 - mean) / 4000).sqrt()), rel=0.05)
    assert low < mean < high


def test_the_captions_of_an_image_are_one_draw():
    values = (torch.rand(500, 1, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    single = bootstrap_interval(values, torch.arange(500))
    copied = bootstrap_interval(values.repeat_interleave(5, 0), torch.arange(500).repeat_interleave(5))
    assert torch.equal(single, copied)  # five equal captions know no more than one


def test_clusters_of_unequal_size_weigh_by_their_queries():
    values, clusters = torch.tensor([[1.0], [1.0], [1.0], [0.0]]), torch.tensor([7, 7, 7, 9])
    means = {float(x) for level in (0.2, 0.5, 0.8, 0.99) for x in bootstrap_interval(values, clusters, level=level)}
    assert means <= {0.0, 0.75, 1.0}


def test_statistics_are_drawn_alike_and_seeds_tell():
    values = torch.rand(50, 1, generator=torch.Generator().manual_seed(1)).expand(50, 2)
    interval = bootstrap_interval(values, torch.arange(50), resamples=50)
    assert torch.equal(interval[:, 0], interval[:, 1])
    assert torch.equal(interval, bootstrap_interval(values, torch.arange(50), resamples=50))
    assert not torch.equal(interval, bootstrap_interval(values, torch.arange(50), resamples=50, seed=1))


@pytest.mark.parametrize("wrong", [{"values": torch.ones(0, 1)}, {"resamples": 0}, {"level": 1.0}])
def test_wrong_arguments_are_named(wrong):
    arguments = {"values": torch.ones(2, 1), **wrong}
    with pytest.raises(ValueError, match="needs queries, resamples and a level in"):
        bootstrap_interval(clusters=torch.arange(len(arguments["values"])), **arguments)
