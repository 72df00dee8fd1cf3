"""Attribute the similarities of a run's pairs to patches, latents and words, and test if they depend on the image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.evaluation.attribution import Attribution, attribute
from edgeglass_diag.evaluation.information import ablate_units, information_test
from edgeglass_diag.extras import extra
from edgeglass_diag.figures.attribution import strip
from edgeglass_diag.plain_values import plain
from edgeglass_diag.provider_protocols import View, Views, provider
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_folder

with extra("evaluate", "attribute"):
    from PIL import Image

ROWS = 64
LATENTS_SHOWN = 64


def attribute_run(
    path: Path, *, split: str = "test", pairs: int = 8, sample: int = 256, steps: int = 64, out: Path | None = None
) -> dict[str, Any]:
    """Return what ``attribute --json`` prints; with ``out`` write a heatmap of each pair and attribution.json too.

    Args:
        path: run folder or checkpoint.
        split: train, val or test.
        pairs: how many of the first pairs are attributed.
        sample: how many pairs the information test is made with, whose mean is the baseline too.
        steps: points of the integral.
        out: folder, new or empty.

    Raises:
        UsageError: if there is no checkpoint, or ``out`` cannot be used.
    """
    if out is not None and exists(out) and (not is_folder(out) or any(out.iterdir())):
        raise UsageError(f"--out {out}: exists and is not empty, and nothing is overwritten")
    try:
        views = provider().views(path, split, max(sample, pairs))
        image, text = (_embeddings(next(v for v in views.views if v.side == side)) for side in ("image", "text"))
        information = information_test(image, text, dict(_ablated(views)))
        found = [
            (view, _attribution(view, text if view.side == "image" else image, pairs, steps)) for view in views.views
        ]
    except ValueError as error:
        raise UsageError(str(error)) from error
    entries = [_pair(views, found, row) for row in range(min(pairs, len(views.captions)))]
    result = {
        "split": split,
        "steps": steps,
        "information": information,
        "largest_error": max(float(attribution.error.max()) for _, attribution in found),
        "pairs": entries,
    }
    if out is not None:
        _write(result, views, out)
    return result


@torch.no_grad()
def _embeddings(view: View) -> Tensor:
    parts = [torch.split(part, ROWS) for part in (view.inputs, *view.extra)]
    return torch.cat([view.encode(*rows) for rows in zip(*parts, strict=True)])


def _ablated(views: Views) -> Iterator[tuple[str, Tensor]]:
    """Yield image embeddings without all units, patches, other tokens such as the class token, and each latent."""
    for view in views.views:
        if view.side != "image" or view.extra:
            continue
        yield f"{view.name}: mean of all", ablate_units(view.encode, view.inputs, view.units)
        count = int(view.units.max()) + 1
        special_tokens = count - (view.grid[0] * view.grid[1] if view.grid is not None else 0)
        if view.grid is None:
            groups = {f"{view.name}: without {unit}": torch.tensor([unit]) for unit in range(min(count, LATENTS_SHOWN))}
        elif special_tokens:
            groups = {
                f"{view.name}: without patches": torch.arange(special_tokens, count),
                f"{view.name}: without the {special_tokens} outside of the picture": torch.arange(special_tokens),
            }
        else:
            groups = {}
        for name, gone in groups.items():
            yield name, ablate_units(view.encode, view.inputs, view.units, gone)


def _attribution(view: View, other: Tensor, pairs: int, steps: int) -> Attribution:
    baseline = view.inputs.mean(0, keepdim=True) if view.baseline is None else view.baseline[:pairs]
    return attribute(
        view.encode,
        view.inputs[:pairs],
        other[:pairs],
        baseline=baseline,
        units=view.units if len(view.units) == 1 else view.units[:pairs],
        extra=tuple(part[:pairs] for part in view.extra),
        steps=steps,
        rows=ROWS,
    )


def _pair(views: Views, found: list[tuple[View, Attribution]], row: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "caption": views.captions[row],
        "similarity": float(found[0][1].similarity[row]),
        "words": list(views.words[row]),
        "views": {},
    }
    for view, attribution in found:
        used = len(views.words[row]) + 1 if view.name == "words" else None
        entry["views"][view.name] = {
            "side": view.side,
            "grid": None if view.grid is None else list(view.grid),
            "reference": float(attribution.reference[row]),
            "integrated_gradients": attribution.integrated_gradients[row, :used].tolist(),
            "ablation": attribution.ablation[row, :used].tolist(),
            "error": float(attribution.error[row]),
        }
    return entry


def _write(result: dict[str, Any], views: Views, out: Path) -> None:
    """``pair-N.png``: the picture, then by view its integrated gradients and its ablation."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for row, entry in enumerate(result["pairs"]):
            file = out / f"pair-{row}.png"
            maps = [
                torch.tensor(view[kind][-view["grid"][0] * view["grid"][1] :]).reshape(*view["grid"]).numpy()
                for view in entry["views"].values()
                if view["grid"] is not None
                for kind in ("integrated_gradients", "ablation")
            ]
            Image.fromarray(strip(views.pictures[row].numpy(), maps)).save(file)
            entry["heatmap"] = str(file)
        (out / "attribution.json").write_text(json.dumps(plain(result), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror}") from error
