"""The information test: what is left of a score when the visual side, or a part of it, is taken away."""

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
    """Return the information of the pairs' scores, of the same with shuffled pictures, and of each ablation.

    ``information`` is the mean of ``measures.information`` (1: every pair beats every non-pair; 0: nothing of the score
    comes from the picture), ``score`` the mean cosine of the pairs, ``R@1`` the recall of
    captions within these pairs, ``share`` the part of the information that is gone, 1 - information / that of the
    pairs as they are: None where that one's interval reaches 0. All have 95 % bootstrap intervals over the pairs in
    ``ci95``, all from the same draws.

    Args:
        image: (N, D) embeddings.
        text: (N, D), row by row the pair.
        ablated: image embeddings (N, D) with something taken away, by name.

    Raises:
        ValueError: as ``measures.information``.
    """
    sides = {"pairs": image, "shuffled": image[shuffled(len(image))], **(ablated or {})}
    columns: list[Tensor] = []
    for side in sides.values():
        columns += [information(side, text).double(), _cosines(side, text), _found(side, text)]
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
def without(
    encode: Callable[..., Tensor], inputs: Tensor, units: Tensor, gone: Tensor | None = None, *, rows: int = 64
) -> Tensor:
    """Return the embeddings (N, D) where some units are replaced by their mean over the samples.

    Args:
        encode: (B, ...) -> (B, D).
        inputs: (N, ...).
        units: the unit of each entry, of a shape that broadcasts to that of inputs.
        gone: numbers of the units that are replaced; all of them where None.
        rows: inputs of one call.
    """
    mean = inputs.mean(0, keepdim=True)
    if gone is None:
        return encode(mean).expand(len(inputs), -1)
    replaced = torch.isin(units, gone)
    return torch.cat([encode(torch.where(replaced, mean, part)) for part in torch.split(inputs, rows)])


def _entry(means: list[float], bounds: list[list[float]]) -> dict[str, Any]:
    names = ("information", "score", "R@1")
    return {**dict(zip(names, means, strict=True)), "ci95": dict(zip(names, bounds, strict=True))}


def _cosines(image: Tensor, text: Tensor) -> Tensor:
    return (normalize(image.double(), dim=-1) * normalize(text.double(), dim=-1)).sum(1)


def _found(image: Tensor, text: Tensor) -> Tensor:
    """Return the R@1 of each picture, as ``eval`` has it: a tie counts as its share."""
    return hits(place_pairs(image, text)[0], 1)[0].double()
