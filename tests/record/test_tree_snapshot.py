"""The places of parameters are kept as long as the modules hold what they held, and no longer."""

import gc
import weakref

import pytest
from torch import nn

from edgeglass_diag.record.naming import Naming


def tower():
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 1, bias=False))


def replaced(model):
    model[0].weight = nn.Parameter(model[0].weight.detach().clone())


def taken_away(model):
    model[0].bias = None


def added(model):
    model[1].scale = nn.Parameter(model[0].bias.detach().clone())


def exchanged(model):
    model[1][0] = nn.Linear(3, 3)


def exchanged_for_one_without_parameters(model):
    model[1][1] = nn.GELU()


def moved(model):
    model[0].other = model[0]._parameters.pop("bias")


def tied(model):
    model[1][0].weight = model[0].weight


CHANGES = (replaced, taken_away, added, exchanged, moved, tied)


def places(model):
    """What a naming that has never seen the model says."""
    fresh = Naming()
    fresh.path(model)
    return {(path, id(parameter)) for path, parameter in fresh.current()}


@pytest.mark.parametrize("change", [*CHANGES, exchanged_for_one_without_parameters])
def test_a_change_is_seen(change):
    model, naming = tower(), Naming()
    naming.path(model)
    naming.current()
    naming.current()
    assert naming.changes == 1
    change(model)
    assert {(path, id(parameter)) for path, parameter in naming.current()} == places(model)
    assert naming.changes == 2


def test_another_model_is_seen():
    model, other, naming = tower(), tower(), Naming()
    naming.path(model)
    before = naming.current()
    naming.path(other)
    assert len(naming.current()) == 2 * len(before)
    del model, before
    gc.collect()
    assert [path for path, _ in naming.current()] == [f"Sequential.{path}" for path, _ in other.named_parameters()]


def test_values_are_no_change():
    model, naming = tower(), Naming()
    naming.path(model)
    naming.current()
    model[0].weight.data = model[0].weight.data * 2
    model[0].weight.requires_grad_(False)
    naming.current()
    assert naming.changes == 1


def test_nothing_is_kept_alive():
    model, naming = tower(), Naming()
    naming.path(model)
    naming.current()
    parameter = weakref.ref(model[0].weight)
    del model
    gc.collect()
    assert parameter() is None
    assert naming.current() == []
