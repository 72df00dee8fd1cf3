"""Embeddings kept at a few steps of a run: ``embeddings/step-N.safetensors`` with ``image`` and ``text``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeglass_diag.records import UsageError

_NAME = re.compile(r"step-(\d+)\.safetensors")
_FOLDER = "embeddings"

Embeddings = NDArray[np.float32]


def write_embeddings(run: Path, step: int, image: Embeddings, text: Embeddings) -> None:
    """Keep the embeddings of a step; the file is there whole or not at all."""
    from safetensors.numpy import save_file

    folder = run / _FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / f"step-{step}.safetensors"
    temporary = file.with_suffix(".tmp")
    save_file({"image": np.ascontiguousarray(image), "text": np.ascontiguousarray(text)}, temporary)
    os.replace(temporary, file)


def snapshot_steps(run: Path) -> list[int]:
    """The steps of which there are embeddings, in rising order; links that lead out of the run are left out."""
    place = run.resolve()
    named = ((file, match) for file in (run / _FOLDER).glob("*") if (match := _NAME.fullmatch(file.name)))
    return sorted(int(match[1]) for file, match in named if file.is_file() and file.resolve().is_relative_to(place))


def _is_inside(file: Path, run: Path) -> bool:
    return file.is_file() and file.resolve().is_relative_to(run.resolve())


def read_embeddings(run: Path, step: int) -> tuple[Embeddings, Embeddings]:
    """Image and text embeddings of a step, (pairs, dims) each.

    Raises:
        UsageError: when there are none of this step, or the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = run / _FOLDER / f"step-{step}.safetensors"
    if not _is_inside(file, run):
        kept = ", ".join(map(str, snapshot_steps(run))) or "none"
        raise UsageError(f"{run} has no embeddings of step {step}; it has those of: {kept}")
    try:
        content = load_file(file)
        return content["image"].astype(np.float32), content["text"].astype(np.float32)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as embeddings ({error})") from error
