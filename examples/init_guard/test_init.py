"""Run with: pytest examples/init_guard --eg-baseline examples/init_guard/init.json --eg-update, and then without."""

from __future__ import annotations

import torch
from reader import Reader


def test_reader_starts_well(init_guard):
    tokens = torch.randn(8, 30, 64, generator=torch.Generator().manual_seed(0))
    init_guard(Reader, tokens)
