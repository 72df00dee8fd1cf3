"""The information test: how much of a score remains when the image side, or a part of it, is ablated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from edgeglass_diag.measures.bootstrap import bootstrap_interval
from edgeglass_diag.measures.information import information, shuffled
from edgeglass_diag.measures.ranking import hits
from edgeglass_diag.measures.retrieval import place_pairs


def information_test(image: Tensor, text: Tensor, ablated: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """Return the information of the pairs' scores: as they are, with shuffled images, and for each ablation.

    ``information`` is the mean of ``measures.information`` (1: every pair scores above every non-pair; 0: the score
    does not depend on the image), ``score`` the mean cosine of the pairs, ``R@1`` the recall of captions within these
    pairs, ``share`` the lost part of the information, 1 - information / information of the unchanged pairs; None if the
    interval of the latter includes 0. ``ci95`` has 95 % bootstrap intervals over pairs, all from the same draws.

    Args:
        image: (N, D) embeddings.
        text: (N, D) embeddings, row by row the pair.
        ablated: image embeddings (N, D) of inputs with some units ablated, by name.

    Raises:
        ValueError: as ``measures.information``.
    """
    sides = {"pairs": image, "shuffled": image[shuffled(len(image))], **(ablated or {})}
    columns: list[Tensor] = []
    for side in sides.values():
        columns += [information(side, text).double(), _cosines(side, text), _recall(side, text)]
    values = torch.stack(columns, 1)
    bounds = bootstrap_interval(values, torch.arange(len(image))).T.tolist()
    means = values.mean(0).tolist()
    table = {name: _entry(means[3 * i : 3 * i + 3], bounds[3 * i : 3 * i + 3]) for i, name in enumerate(sides)}
    whole = table["pairs"]
    known = whole["ci95"]["information"][0] > 0
    for entry in table.values():
        entry["share"] = 1 - entry["information"] / whole["information"] if known else None
    return {"n": len(image), "informed": known, **table}


@torch.no_grad()
def ablate_units(
    encode: Callable[..., Tensor], inputs: Tensor, units: Tensor, ablated: Tensor | None = None, *, rows: int = 64
) -> Tensor:
    """Return embeddings (N, D) of inputs with some units replaced by their mean over samples.

    Args:
        encode: (B, ...) -> (B, D).
        inputs: (N, ...).
        units: unit of each entry, of a shape that broadcasts to that of inputs.
        ablated: numbers of the replaced units; None for all.
        rows: batch size of encode.
    """
    mean = inputs.mean(0, keepdim=True)
    if ablated is None:
        return encode(mean).expand(len(inputs), -1)
    replaced = torch.isin(units, ablated)
    return torch.cat([encode(torch.where(replaced, mean, part)) for part in torch.split(inputs, rows)])


def _entry(means: list[float], bounds: list[list[float]]) -> dict[str, Any]:
    names = ("information", "score", "R@1")
    return {**dict(zip(names, means, strict=True)), "ci95": dict(zip(names, bounds, strict=True))}


def _cosines(image: Tensor, text: Tensor) -> Tensor:
    return (normalize(image.double(), dim=-1) * normalize(text.double(), dim=-1)).sum(1)


def _recall(image: Tensor, text: Tensor) -> Tensor:
    """Return R@1 of each image as ``eval`` computes it: a tie of n candidates counts 1 / n."""
    return hits(place_pairs(image, text)[0], 1)[0].double()
