"""Losses of cosines and distances by which nothing was learned, and those that are maximised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.rules.comparison_result import ComparisonLearnedNothing
from edgeglass_diag.rules.loss_sign import LossMaximised

RULES = (ComparisonLearnedNothing,)


def findings_of(folder: Path, *, paired: bool = True, sign: float = 1.0, written: bool = False) -> dict[str, str]:
    """Return the severities by code of a regression whose targets belong to the inputs or to those of others."""
    torch.manual_seed(0)
    world = nn.Linear(16, 8).requires_grad_(False)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with eg.watch(model, optimizer, out=folder, rules=[ComparisonLearnedNothing(), LossMaximised()]):
        for _ in range(80):
            x = torch.randn(64, 16)
            y = 3 * world(x)
            y = y if paired else y[torch.randperm(64)]
            out = model(x)
            loss = ((out - y) ** 2).mean(dim=-1).mean() if written else nn.functional.mse_loss(out, y)
            optimizer.zero_grad()
            (sign * loss).backward()
            optimizer.step()
    return {finding.code: str(finding.severity) for finding in eg.load(folder).findings}


def test_targets_of_other_samples_are_found(tmp_path: Path) -> None:
    assert findings_of(tmp_path, paired=False) == {"EG321": "warning"}


@pytest.mark.parametrize("written", [False, True])
def test_a_regression_that_learns_is_silent(tmp_path: Path, written: bool) -> None:
    assert findings_of(tmp_path, written=written) == {}


@pytest.mark.parametrize("written", [False, True])
def test_a_distance_to_targets_that_is_maximised_is_found(tmp_path: Path, written: bool) -> None:
    assert findings_of(tmp_path, sign=-1.0, written=written).get("EG418") == "critical"
