"""Pictures and captions of kept pairs: ``embeddings/samples-N.safetensors`` with ``pictures`` and ``about`` (JSON)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from edgeglass_diag.pair_samples import MOST_PAIRS, MOST_PIXELS, NO_SAMPLES, PairSamples, Wording
from edgeglass_diag.records import UsageError

_FOLDER = "embeddings"
_MOST_BYTES = 2**23


def write_samples(run: Path, step: int, samples: PairSamples) -> None:
    """Keep the samples of a step; the file is there whole or not at all."""
    from safetensors.numpy import save_file

    about = {"captions": samples.captions, "wording": samples.wording, "note": samples.note}
    text = json.dumps(about, ensure_ascii=False).encode(errors="replace")
    folder = run / _FOLDER
    folder.mkdir(exist_ok=True)
    file = _file(run, step)
    temporary = file.with_suffix(".tmp")
    content = {"pictures": np.ascontiguousarray(samples.pictures), "about": np.frombuffer(text, np.uint8)}
    save_file(content, temporary)
    os.replace(temporary, file)


def read_samples(run: Path, step: int) -> PairSamples:
    """Return the samples of a step; those that were not kept are empty.

    Raises:
        UsageError: when the file cannot be read, or is larger than one of 256 pairs.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = _file(run, step)
    if not file.is_file() or not file.resolve().is_relative_to(run.resolve()):
        return NO_SAMPLES
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES} bytes")
        content = load_file(file)
        about = json.loads(content["about"].tobytes())
        captions = tuple(map(str, about["captions"]))
        pictures = content["pictures"]
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
            raise ValueError(f"pictures of {pictures.dtype} {pictures.shape}")
        if max(len(pictures), len(captions)) > MOST_PAIRS or max(pictures.shape[1:3]) > MOST_PIXELS:
            raise ValueError(f"pictures {pictures.shape}, {len(captions)} captions")
        return PairSamples(pictures, captions, Wording(about["wording"]), str(about["note"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as samples ({error})") from error


def _file(run: Path, step: int) -> Path:
    return run / _FOLDER / f"samples-{step}.safetensors"
