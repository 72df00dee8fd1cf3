"""Initial values are others before the first pass, and nothing else is: the program's numbers stay what they were."""

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.overrides import TorchFunctionMode

from edgeglass_diag.intervention import Intervention
from tests.helpers.interventions import Reader, batches, placed, placed_all, same, train


def alike(model):
    with torch.no_grad():
        model.latents.copy_(0.5 * torch.ones(4, 1) @ torch.randn(1, 6))


def sgd(model):
    return SGD(model.parameters(), 0.0)


def begun(name, value=None, site="latents", *, seed=0, prepare=lambda _: None):
    """The value of a parameter at the start under a change, and what the training was but for it."""
    with placed(name, value, site) as means:
        *rest, number = train(sgd, prepare=prepare, seed=seed, steps=1)
    values = dict(zip([name for name, _ in Reader().named_parameters()], rest[1:], strict=True))
    return values.pop(site), [*values.values(), number], means


def untouched(site="latents", **others):
    *rest, number = train(sgd, steps=1, **others)
    values = dict(zip([name for name, _ in Reader().named_parameters()], rest[1:], strict=True))
    return [value for name, value in values.items() if name != site] + [number]


@pytest.mark.parametrize("site", ["latents", "head.weight", "proj.bias"])
def test_a_parameter_is_drawn_anew_and_nothing_else(site):
    drawn, others, means = begun("initial.std", 0.02, site)
    assert same(others, untouched(site))
    assert 0.005 < float(drawn.std()) < 0.05
    assert means.applied == 1


def test_seeds_draw_others_and_one_seed_the_same():
    first, again, other = (begun("initial.std", 1.0, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_parameters_do_not_get_the_same_numbers_though_torch_would_draw_them():
    text, vision = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2))
    with placed_all(
        Intervention("initial.std", 1.0, "weight"), Intervention("initial.std", 1.0, "Sequential.0.weight")
    ):
        for model in (text, vision):
            torch.manual_seed(0)
            model(torch.ones(1, 3))
    values = [text.weight.detach(), vision[0].weight.detach()]
    torch.manual_seed(0)
    values.append(torch.randn(2, 3))
    assert not any(torch.equal(values[a], values[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_rows_that_are_alike_learn_alike_until_each_is_drawn_for_itself():
    def optimizer(model):
        return SGD(model.parameters(), 0.1)

    def rows(trained):
        return trained[6]

    ill = rows(train(optimizer, prepare=alike))
    torch.testing.assert_close(ill, ill[:1].expand(4, 6))
    with placed("initial.rows", site="latents") as means:
        well = rows(train(optimizer, prepare=alike))
    assert float(torch.pdist(well).min()) > 0.1
    assert means.applied == 1


def test_rows_keep_the_scale_of_the_tensor_unless_a_std_is_given():
    drawn, others, _ = begun("initial.rows", prepare=alike)
    before = train(sgd, prepare=alike, steps=1)[1]
    assert float(drawn.square().mean() / before.square().mean()) == pytest.approx(1.0, rel=0.7)
    assert same(others, untouched(prepare=alike))
    given, _, _ = begun("initial.rows", 0.001, prepare=alike)
    assert float(given.abs().max()) < 0.005


@pytest.mark.parametrize("site", ["proj.bias", "scale", "latents"])
def test_what_has_no_rows_or_is_0_is_left_alone(site):
    def nothing(model):
        torch.nn.init.zeros_(model.latents)

    _, _, means = begun("initial.rows", None, site, prepare=nothing)
    assert means.applied == 0


def test_a_matrix_becomes_orthogonal():
    drawn, others, means = begun("initial.orthogonal", prepare=alike)
    torch.testing.assert_close(drawn @ drawn.T, torch.eye(4))
    assert same(others, untouched(prepare=alike))
    assert means.applied == 1
    _, others, means = begun("initial.orthogonal", None, "proj.bias")
    assert means.applied == 0


def test_leading_dimensions_of_1_are_no_rows():
    class Latents(nn.Module):
        def __init__(self):
            super().__init__()
            self.latents = nn.Parameter(torch.ones(1, 3, 5))

        def forward(self, x):
            return x + self.latents

    model = Latents()
    with placed("initial.orthogonal", site="latents"):
        model(torch.ones(2, 3, 5))
    torch.testing.assert_close(model.latents[0] @ model.latents[0].T, torch.eye(3))
    assert model.latents.shape == (1, 3, 5)


def test_a_scalar_is_set_and_trains_as_if_the_program_had_set_it():
    def hot(model):
        nn.init.constant_(model.scale, 4.6)

    def optimizer(model):
        return SGD(model.parameters(), 0.1)

    healthy = train(optimizer)
    assert not same(train(optimizer, prepare=hot), healthy)
    with placed("initial.value", 1.0, "scale") as means:
        assert same(train(optimizer, prepare=hot), healthy)
    assert means.applied == 1
    _, _, means = begun("initial.value", 1.0, "head.bias")
    assert means.applied == 0


@pytest.mark.parametrize("site", ["head", "elsewhere", "latent"])
def test_a_site_that_is_no_parameter_changes_nothing(site):
    plain = train(sgd)
    with placed("initial.std", 0.5, site) as means:
        assert same(train(sgd), plain)
    assert means.applied == 0


def test_who_follows_the_writes_of_the_program_sees_none():
    called = []

    class Followed(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            called.append(func.__name__)
            return func(*args, **(kwargs or {}))

    model, (inputs, _) = Reader(), batches(1)[0]
    with placed("initial.std", 0.02, "latents") as means, Followed():
        model(inputs)
    assert means.applied == 1
    assert "linear" in called
    assert not {"normal_", "randint"} & set(called)


def test_it_is_made_once_and_for_each_model_that_is_built_later():
    with placed("initial.std", 1.0, "latents") as means:
        model, (inputs, _) = Reader(), batches(1)[0]
        with torch.no_grad():
            model(inputs)
        assert means.applied == 0
        model(inputs)
        drawn = model.latents.detach().clone()
        model(inputs)
        assert torch.equal(model.latents.detach(), drawn)
        model.extra = nn.Linear(6, 6)
        model.extra(inputs)
        assert torch.equal(model.latents.detach(), drawn)
    assert means.applied == 1


def test_a_part_that_is_built_later_is_drawn_too():
    with placed("initial.value", 3.0, "late.scale") as means:
        model = nn.Module()
        model.body, model.late = nn.Linear(2, 2), None
        model.body(torch.ones(1, 2))
        model.late = nn.Module()
        model.late.scale = nn.Parameter(torch.zeros(()))
        model.late.forward = lambda x: x * model.late.scale
        model.late(torch.ones(1, 2))
    assert model.late.scale.item() == 3.0
    assert means.applied == 1
