"""Each change of a step does what the same change in the program's code does, bit by bit, or finds nothing to do."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR

from edgeglass_diag.intervention import Intervention
from tests.helpers.interventions import placed, placed_all, same, train


def adamw(lr=0.05, **settings):
    return lambda model: AdamW(model.parameters(), lr.clone() if isinstance(lr, torch.Tensor) else lr, **settings)


def clipped(norm):
    return lambda model: clip_grad_norm_(model.parameters(), norm)


def decayed(rest):
    """AdamW that decays its matrices, and its vectors by another number."""

    def make(model):
        groups = [[p for p in model.parameters() if (p.dim() > 1) == wanted] for wanted in (True, False)]
        return AdamW([{"params": groups[0]}, {"params": groups[1], "weight_decay": rest}], 0.05, weight_decay=0.9)

    return make


@pytest.mark.parametrize("kind", [{}, {"foreach": True}, {"fused": True}, {"lr": torch.tensor(0.05)}])
def test_the_placebo_is_bit_identical(kind):
    def decay(optimizer):
        return ExponentialLR(optimizer, 0.5)

    plain = train(adamw(**kind), schedule=decay, before_step=clipped(0.5))
    with placed("optimizer.lr", 1.0) as means:
        assert same(train(adamw(**kind), schedule=decay, before_step=clipped(0.5)), plain)
    assert means.applied == 6


CHANGES = [
    ("optimizer.lr", 0.5, adamw(0.1), adamw(0.05)),
    ("optimizer.lr", 0.5, adamw(torch.tensor(0.1)), adamw(torch.tensor(0.05))),
    ("optimizer.lr_at_least", 0.05, adamw(0.0), adamw(0.05)),
    ("optimizer.weight_decay", 0.0, adamw(weight_decay=0.9), adamw(weight_decay=0.0)),
    ("optimizer.weight_decay", 0.0, lambda m: SGD(m.parameters(), 0.1, weight_decay=0.9),
     lambda m: SGD(m.parameters(), 0.1)),
    ("optimizer.eps", 1e-8, adamw(eps=1.0), adamw()),
    ("optimizer.beta2", 0.999, adamw(betas=(0.9, 0.1)), adamw()),
    ("optimizer.weight_decay_of_vectors", 0.0, adamw(weight_decay=0.9), decayed(0.0)),
    ("optimizer.weight_decay_of_vectors", 0.0, decayed(0.9), decayed(0.0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "ill", "well"), CHANGES)
def test_a_setting_is_as_if_the_program_had_chosen_it(name, value, ill, well):
    healthy = train(well)
    assert not same(train(ill), healthy)
    with placed(name, value) as means:
        assert same(train(ill), healthy)
        assert means.applied == 6
    if name != "optimizer.lr":
        with placed(name, value) as means:
            assert same(train(well), healthy)
        assert means.applied == 0


@pytest.mark.parametrize("kind", [{"foreach": True}, {"fused": True}])
def test_the_decay_of_vectors_goes_with_all_kinds_of_steps(kind):
    healthy = train(lambda m: decayed(0.0)(m) if "foreach" in kind else _fused(decayed(0.0)(m)))
    with placed("optimizer.weight_decay_of_vectors", 0.0):
        assert same(train(adamw(weight_decay=0.9, **kind)), healthy)


def _fused(optimizer):
    return AdamW([dict(group, fused=True, foreach=False) for group in optimizer.param_groups])


def test_schedulers_and_the_program_see_their_own_groups():
    made = []

    def kept(model):
        made.append(AdamW(model.parameters(), 0.1, weight_decay=0.9, eps=1.0))
        return made[0]

    with placed("optimizer.weight_decay_of_vectors", 0.0):
        train(kept, schedule=lambda o: ExponentialLR(o, 0.5))
    (group,) = made[0].param_groups
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.1 * 0.5**6, 0.9, 8)


def test_a_group_of_vectors_is_not_split():
    counted = []

    def kept(model):
        optimizer = decayed(0.9)(model)
        optimizer.register_step_pre_hook(lambda o, *_: counted.append([len(g["params"]) for g in o.param_groups]))
        return optimizer

    with placed("optimizer.weight_decay_of_vectors", 0.0):
        train(kept, steps=1)
    assert counted == [[3, 5]]


def test_a_setting_that_an_optimizer_lacks_is_not_applicable():
    with placed("optimizer.eps", 1e-8) as means:
        train(lambda m: SGD(m.parameters(), 0.1))
    assert (means.applied, means.place) == (0, None)


def test_what_a_step_that_raised_has_left_is_put_back_with_the_next():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = SGD([weight], lr=1.0)
    with placed("optimizer.lr", 0.1):
        with pytest.raises(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        weight.square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.8]))
    assert optimizer.param_groups[0]["lr"] == 1.0


class Slow(SGD):
    """Steps by its class, and pulls its weights to 0 with the learning rate that it was given."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.mul_(1 - group["lr"])


class Lion(torch.optim.Optimizer):
    """Written by hand."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                parameter.sub_(group["lr"] * (0.9 * average + 0.1 * parameter.grad).sign())
                average.mul_(0.99).add_(parameter.grad, alpha=0.01)


class Wrapped(torch.optim.Optimizer):
    """Steps by another optimizer, whose groups it shares."""

    def __init__(self, inner):
        super().__init__(inner.param_groups, {})
        self.inner, self.param_groups = inner, inner.param_groups

    def step(self, closure=None):
        return self.inner.step(closure)


@pytest.mark.parametrize("kind", [
    lambda p, lr: Slow(p, lr), Lion, lambda p, lr: Wrapped(SGD(p, lr)), lambda p, lr: Wrapped(Lion(p, lr)),
])  # fmt: skip
@pytest.mark.parametrize(("name", "value"), [("optimizer.lr", 0.5), ("optimizer.warmup", 3.0)])
def test_optimizers_of_others_are_changed_once_in_each_step(kind, name, value):
    SGD([torch.nn.Parameter(torch.zeros(1))])  # from now on the class itself calls hooks
    factors = [0.5] * 6 if name == "optimizer.lr" else [1 / 3, 2 / 3, 1, 1, 1, 1]

    def scheduled(optimizer):
        return LambdaLR(optimizer, lambda k: factors[min(k, 5)])

    healthy = train(lambda m: kind(list(m.parameters()), 0.1), schedule=scheduled)
    with placed(name, value) as means:
        changed = train(lambda m: kind(list(m.parameters()), 0.1))
    for one, other in zip(changed, healthy, strict=True):
        torch.testing.assert_close(one, other)
    assert means.applied >= (6 if name == "optimizer.lr" else 2)


def test_a_warm_up_scales_the_first_steps_alone():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer, seen = SGD([weight], lr=1.0), []
    with placed("optimizer.warmup", 4.0) as means:
        for _ in range(6):
            weight.grad, before = torch.ones(1), weight.item()
            optimizer.step()
            seen.append(before - weight.item())
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert means.applied == 3
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_steps_of_several_optimizers_are_all_changed():
    def two(model):
        first, second = list(model.parameters())[:4], list(model.parameters())[4:]
        optimizers = [AdamW(first, 0.1), SGD(second, 0.1)]
        return type("Both", (), {"step": lambda _: [each.step() for each in optimizers]})()

    def two_slow(model):
        first, second = list(model.parameters())[:4], list(model.parameters())[4:]
        optimizers = [AdamW(first, 0.05), SGD(second, 0.05)]
        return type("Both", (), {"step": lambda _: [each.step() for each in optimizers]})()

    healthy = train(two_slow)
    with placed("optimizer.lr", 0.5) as means:
        assert same(train(two), healthy)
    assert means.applied == 12


def test_the_place_is_where_the_program_makes_the_optimizer_or_clips():
    weight = torch.nn.Parameter(torch.zeros(1))
    with placed("optimizer.lr", 0.5) as means:
        optimizer = Lion([weight], 0.1)
        weight.grad = torch.ones(1)
        optimizer.step()
    assert _text(means.place) == "optimizer = Lion([weight], 0.1)"
    with placed("optimizer.unclipped") as means:
        weight.grad = torch.full((1,), 9.0)
        clip_grad_norm_(weight, 1.0)
    assert _text(means.place) == "clip_grad_norm_(weight, 1.0)"


def _text(place):
    with open(place.file) as file:
        return file.read().splitlines()[place.line - 1].strip()


def test_changes_of_one_setting_go_together_and_are_put_back():
    made = []

    def kept(model):
        made.append(SGD(model.parameters(), 0.1))
        return made[0]

    factors = [0.25, 0.5, 0.5, 0.5, 0.5, 0.5]
    healthy = train(lambda m: SGD(m.parameters(), 0.1), schedule=lambda o: LambdaLR(o, lambda k: factors[min(k, 5)]))
    with placed_all(Intervention("optimizer.lr", 0.5), Intervention("optimizer.warmup", 2.0)):
        changed = train(kept)
    for one, other in zip(changed, healthy, strict=True):
        torch.testing.assert_close(one, other)
    assert made[0].param_groups[0]["lr"] == 0.1
