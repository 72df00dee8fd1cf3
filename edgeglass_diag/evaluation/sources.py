"""Read embeddings from npy, npz, safetensors and parquet files; pickles are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgeglass_diag.evaluation.embeddings import Embeddings, make_embeddings
from edgeglass_diag.records import UsageError

Array = np.ndarray[Any, Any]
KEYS = ("image", "text", "image_index")
"""Arrays of a file: (N, D), (M, D) and, for several captions per image, (M,) the row of each caption's image."""


def holds_embeddings(path: Path) -> bool:
    """Return whether a file holds embeddings, by its suffix; a safetensors file with a recipe is a checkpoint.

    Raises:
        UsageError: for a safetensors file that cannot be read.
    """
    if path.suffix != ".safetensors":
        return path.suffix in _READERS
    try:
        with safe_open(path, framework="pt") as opened:
            return "recipe" not in (opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise UsageError(f"unreadable safetensors: {path}: {_line(error)}") from error


def read_embeddings(path: Path) -> Embeddings:
    """Return the embeddings of a file.

    - npy: one array of shape (2, N, D), images and captions, row by row a pair.
    - npz, safetensors: arrays ``image`` (N, D), ``text`` (M, D) and optionally ``image_index`` (M,).
    - parquet: one row for each caption with lists ``image`` and ``text``; rows of one ``image_index`` (any integers)
      are captions of one image, whose embedding is taken from the first of them.

    Raises:
        UsageError: if the file is missing, unreadable, pickled, or not of that form; the message has one line.
    """
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    try:
        parts = _READERS[path.suffix](path)
        return make_embeddings(parts["image"], parts["text"], parts.get("image_index"))
    except (OSError, ValueError, EOFError, BadZipFile, SafetensorError) as error:
        raise UsageError(f"{path}: {_line(error)}") from error


def _npy(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:  # np.load would also open an archive or a pickle
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.ndim != 3 or len(array) != 2:
        raise ValueError(f"expected one array of shape (2, N, D), got {array.shape}")
    return {"image": _tensor("image", array[0]), "text": _tensor("text", array[1])}


def _npz(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as opened:
        return {key: _tensor(key, np.asarray(opened[key])) for key in _present(opened.files)}


def _safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as opened:
        return {key: opened.get_tensor(key) for key in _present(opened.keys())}


def _parquet(path: Path) -> dict[str, Tensor]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as opened:
        keys = _present(opened.schema_arrow.names)
        table = opened.read(columns=keys)
    parts = {key: _matrix(key, table.column(key)) for key in ("image", "text")}
    if "image_index" in keys:
        index = table.column("image_index").to_numpy()
        _, first, owner = np.unique(index, return_index=True, return_inverse=True)
        if not np.issubdtype(index.dtype, np.integer):  # a missing value makes the column floats
            raise ValueError(f"image_index: expected an integer in each row, got {index.dtype}")
        parts |= {"image": parts["image"][first], "image_index": owner}
    return {key: _tensor(key, part) for key, part in parts.items()}


def _matrix(key: str, column: Any) -> Array:
    """Return a column of lists as (rows, D); a missing element becomes NaN."""
    from pyarrow import compute, types

    if not (types.is_list(column.type) or types.is_fixed_size_list(column.type)):
        raise ValueError(f"{key}: expected a column of lists of floats, got {column.type}")
    if column.null_count:
        raise ValueError(f"{key}: expected a list in each row, got none in {column.null_count} of {len(column)}")
    lengths = compute.list_value_length(column).to_numpy()
    if lengths.min() != lengths.max():
        raise ValueError(f"{key}: expected lists of one length, got {lengths.min()} to {lengths.max()}")
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(len(lengths), -1)


def _present(names: Iterable[str]) -> list[str]:
    """Return the names of the arrays to read.

    Raises:
        ValueError: if image or text is missing.
    """
    found = sorted(names)
    for key in KEYS[:2]:
        if key not in found:
            raise ValueError(f"has no {key!r}: expected image, text and optionally image_index, got {', '.join(found)}")
    return [key for key in KEYS if key in found]


def _tensor(key: str, array: Array) -> Tensor:
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise ValueError(f"{key}: expected numbers of at most 64 bits, got {array.dtype}")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
}
