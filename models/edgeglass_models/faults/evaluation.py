"""Faults of the evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeglass_models.faults.case import Cases
from edgeglass_models.faults.training import KS, Setup, recalls

cases = Cases()


@cases.fault("EG605", acts=40)
def evaluation_in_train_mode(setup: Setup) -> None:
    """Dropout is on while the recalls are taken."""
    from edgeglass_models.faults.model import TinyDual

    setup.build = lambda setup: TinyDual(dropout=0.1)
    setup.evaluate_in_train_mode, setup.evaluate_every = True, 20


@cases.fault("EG604", acts=40)
def ties_counted_as_hits(setup: Setup) -> None:
    """A strict comparison finds everything where all candidates tie: the texts are all the same."""

    def strict(image: Tensor, text: Tensor) -> dict[str, float]:
        scores = image @ text[:1].expand_as(text).T
        ranks = (scores > scores.diagonal().unsqueeze(1)).sum(1)
        return {f"{way}/R@{k}": float((ranks < k).float().mean()) for way in ("i2t", "t2i") for k in KS}

    setup.recalls = strict
    setup.schedule = lambda setup, step: 1e-3


@cases.fault("EG601", acts=40)
def constant_embeddings_evaluated(setup: Setup) -> None:
    """The evaluation embeds every image with the first one's pixels."""
    setup.recalls = lambda image, text: recalls(image[:1].expand_as(image), text)


@cases.fault("EG603", acts=40)
def one_direction_twice(setup: Setup) -> None:
    """Both directions are the same one."""

    def twice(image: Tensor, text: Tensor) -> dict[str, float]:
        found = recalls(image, text)
        return {name: found[name.replace("t2i", "i2t")] for name in found}

    setup.recalls = twice


@cases.fault("EG602", acts=40)
def recall_of_a_single_argsort(setup: Setup) -> None:
    """One argsort is taken for ranks, and R@1 exceeds R@5."""

    def wrong(image: Tensor, text: Tensor) -> dict[str, float]:
        found = recalls(image, text)
        return {name: (1 - value if name.endswith("@5") else value) for name, value in found.items()}

    setup.recalls = wrong


@cases.fault("EG602", acts=40)
def recall_in_percent(setup: Setup) -> None:
    """Recalls are logged in percent instead of as fractions."""
    setup.recalls = lambda image, text: {name: 100 * value for name, value in recalls(image, text).items()}


@cases.fault("EG607", acts=40)
def evaluation_unpaired(setup: Setup) -> None:
    """The texts of the evaluation are in another order than its images."""
    setup.recalls = lambda image, text: recalls(image, text.roll(1, 0))


@cases.fault("EG402", acts=40)
def validation_loss_never_computed(setup: Setup) -> None:
    """The validation loss is logged as 0."""
    whole = setup.forward

    def forward(model: torch.nn.Module, batch: object, setup: Setup) -> Tensor:
        loss = whole(model, batch, setup)  # type: ignore[arg-type]
        return loss if torch.is_grad_enabled() else 0 * loss

    setup.forward = forward


@cases.fault("EG606", "EG801", acts=40)
def metric_not_finite(setup: Setup) -> None:
    """A recall is 0 / 0."""
    setup.recalls = lambda image, text: {**recalls(image, text), "i2t/R@1": float("nan")}
