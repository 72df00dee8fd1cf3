"""Faults of the optimizer, the schedule and the loop around them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.training import Setup, cosine, update

cases = Cases()


def everything_decayed(model: nn.Module, setup: Setup) -> Optimizer:
    """One group for all parameters."""
    return AdamW(model.parameters(), lr=setup.lr, weight_decay=setup.weight_decay)


@cases.fault("EG211", acts=1, fast=True)
def zero_grad_missing(setup: Setup) -> None:
    """Gradients of all steps add up."""
    setup.zero_grad = False


@cases.fault("EG217", acts=1)
def cleared_while_accumulating(setup: Setup) -> None:
    """Four batches are accumulated, and gradients cleared before each of them."""

    def cleared(model: nn.Module, optimizer: Optimizer, setup: Setup, step: int) -> None:
        for part in range(4):
            optimizer.zero_grad()
            torch.autograd.backward(setup.forward(model, setup.batches(setup, 4 * step + part), setup) / 4)
        optimizer.step()

    setup.update = cleared


@cases.fault("EG205")
def rate_of_zero(setup: Setup) -> None:
    """The learning rate is zero."""
    setup.schedule = lambda setup, step: 0.0


@cases.fault("EG205", at=("text_proj", "group"))
def group_with_rate_zero(setup: Setup) -> None:
    """New layers are in a group whose learning rate is zero."""

    def optimizer(model: nn.Module, setup: Setup) -> Optimizer:
        late = [p for name, p in model.named_parameters() if name.startswith("text_proj")]
        rest = [p for name, p in model.named_parameters() if not name.startswith("text_proj")]
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": late, "lr": 0.0}]
        return AdamW(groups, lr=setup.lr)

    setup.optimizer = optimizer


@cases.fault("EG206")
def rate_far_too_small(setup: Setup) -> None:
    """The learning rate is a hundred thousand times too small."""
    setup.lr = 2e-8


@cases.fault("EG202", "EG207", "EG204", "EG801")
def rate_far_too_large(setup: Setup) -> None:
    """The learning rate is two hundred times too large."""
    setup.lr, setup.warmup = 0.4, 0


@cases.fault("EG202", "EG207", "EG204", "EG801")
def plain_sgd_too_fast(setup: Setup) -> None:
    """SGD with momentum at a rate that diverges."""
    setup.optimizer = lambda model, setup: SGD(model.parameters(), lr=50.0, momentum=0.9)
    setup.clip = None


@cases.fault("EG212", "EG206")
def warmup_longer_than_the_run(setup: Setup) -> None:
    """The warm-up takes two hundred times the run."""
    setup.warmup = 200 * setup.steps


@cases.fault("EG203", acts=60)
def schedule_overrun(setup: Setup) -> None:
    """The cosine ends at half of the run and rises again."""
    setup.horizon = setup.steps // 2


@cases.fault("EG213", acts=30)
def schedule_ends_early(setup: Setup) -> None:
    """The schedule is stepped once for each of four micro-batches and is at zero after a quarter of the run."""

    def early(setup: Setup, step: int) -> float:
        return cosine(setup, 4 * step) if 4 * step < setup.steps else 0.0

    setup.schedule = early


@cases.fault("EG208", "EG206")
def clipping_far_too_low(setup: Setup) -> None:
    """Gradients are clipped to a norm of 1e-6, where Adam's eps swallows them."""
    setup.clip = 1e-6


@cases.fault("EG208", "EG206")
def clipping_sgd(setup: Setup) -> None:
    """SGD whose gradients are always clipped to a hundredth of their norm."""
    setup.optimizer = lambda model, setup: SGD(model.parameters(), lr=0.05)
    setup.clip = 0.01


@cases.fault("EG209", at=("log_scale",))
def decay_on_the_scale(setup: Setup) -> None:
    """The logit scale is decayed as if it were a weight, with 0.2."""
    setup.optimizer, setup.weight_decay = everything_decayed, 0.2


@cases.fault("EG210", "EG209")
def decay_far_too_strong(setup: Setup) -> None:
    """Weight decay of 200 empties the weights."""
    setup.weight_decay = 200.0


@cases.fault("EG206", "EG201", "EG205")
def eps_far_too_large(setup: Setup) -> None:
    """Adam's eps of 100 makes all steps tiny."""
    setup.optimizer = lambda model, setup: AdamW(model.parameters(), lr=setup.lr, eps=100.0)


@cases.fault("EG204", "EG207", "EG202", acts=60)
def rate_explodes_later(setup: Setup) -> None:
    """The rate rises a thousandfold in the middle of the run."""
    setup.schedule = lambda setup, step: cosine(setup, step) * (1000.0 if step >= 60 else 1.0)


@cases.fault("EG003", "EG009", "EG205")
def optimizer_of_another_model(setup: Setup) -> None:
    """The optimizer holds copies of the parameters, so that its steps change nothing that is used."""

    def optimizer(model: Any, setup: Setup) -> Optimizer:
        copies = {p: nn.Parameter(p.detach().clone()) for p in model.parameters()}
        setup_update = setup.update

        def hand_over(model: nn.Module, made: Optimizer, setup: Setup, step: int) -> None:
            setup_update(model, made, setup, step)
            for parameter, copy in copies.items():
                copy.grad = parameter.grad
            model.zero_grad()

        setup.update = hand_over
        return AdamW(list(copies.values()), lr=setup.lr)

    setup.optimizer = optimizer


@cases.fault("EG201", "EG007", "EG205", "EG206")
def gradient_multiplied_to_nothing(setup: Setup) -> None:
    """A hook scales the gradient of a tower to almost nothing."""
    setup.alter.append(
        lambda model: [p.register_hook(lambda g: g * 1e-12) for p in model.visual.parameters()]  # type: ignore[union-attr]
    )


@cases.fault("EG801", acts=20)
def nan_in_a_gradient(setup: Setup) -> None:
    """From step 20 on a gradient is NaN."""

    def poisoned(model: nn.Module, optimizer: Optimizer, setup: Setup, step: int) -> None:
        update(model, optimizer, setup, step)
        if step >= 20:
            next(model.parameters()).data.fill_(torch.nan)

    setup.update = poisoned
