"""The verb ``eval``: retrieval both ways, by MRL prefix, and geometry, of a run, a checkpoint or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgeglass_diag.evaluation.embeddings import Embeddings, make_embeddings
from edgeglass_diag.evaluation.report import report
from edgeglass_diag.evaluation.sources import holds_embeddings, read_embeddings
from edgeglass_diag.provider_protocols import provider
from edgeglass_diag.records import UsageError


def evaluate(
    path: Path,
    *,
    split: str | None = None,
    data: Path | None = None,
    settings: Sequence[str] = (),
    dims: Sequence[int] = (),
    with_curve: bool = True,
    device: str | None = None,
) -> tuple[dict[str, Any], Embeddings]:
    """What ``eval --json`` prints, and the embeddings that it is about.

    Args:
        path: run folder, checkpoint, or file of embeddings (npy, npz, safetensors, parquet).
        split: of a run or checkpoint; where None test, or with ``data`` all.
        data: other pictures and captions for a run or checkpoint, in any form that recipes read.
        settings: ``data.key=value`` of a run or checkpoint.
        dims: prefix widths; the model's own, or halvings down to 32, where empty.
        with_curve: also the MRL curve with its controls.
        device: a torch device; CUDA where None and there is one.

    Raises:
        UsageError: when there is nothing to evaluate at ``path``, or it does not fit the options.
    """
    try:
        embeddings, of_what = _embeddings(path, split, data, settings)
        return {**of_what, **report(embeddings.to(_device(device)), dims, with_curve=with_curve)}, embeddings
    except ValueError as error:
        raise UsageError(str(error)) from error


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from error


def _embeddings(
    path: Path, split: str | None, data: Path | None, settings: Sequence[str]
) -> tuple[Embeddings, dict[str, str]]:
    if path.is_file() and holds_embeddings(path):
        for option, given in (("--split", split), ("--data", data), ("--set", " ".join(settings) or None)):
            if given is not None:
                raise UsageError(f"{option} {given}: is for runs and checkpoints; {path} holds embeddings")
        return read_embeddings(path), {}
    split = split or ("test" if data is None else "all")
    found = provider().embed(path, split, data=data, overrides=settings)
    embeddings = make_embeddings(found.image, found.text, found.image_index, tuple(found.dims))
    return embeddings, {"split": split, **({} if data is None else {"data": str(data)})}
