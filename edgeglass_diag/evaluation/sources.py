"""Read embeddings from npy, npz, safetensors and parquet files; pickles are refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from safetensors import safe_open
from torch import Tensor

from edgeglass_diag.evaluation.embeddings import Embeddings, make_embeddings
from edgeglass_diag.extras import extra
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import open_file, parsing, size_words
from edgeglass_diag.user_input.limits import ARRAY_BYTES

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
    with _regular(path), parsing(path, "safetensors"), safe_open(path, framework="pt") as opened:
        return "recipe" not in (opened.metadata() or {})


def read_embeddings(path: Path) -> Embeddings:
    """Return the embeddings of a file.

    - npy: one array of shape (2, N, D), images and captions, row by row a pair.
    - npz, safetensors: arrays ``image`` (N, D), ``text`` (M, D) and optionally ``image_index`` (M,).
    - parquet: one row for each caption with lists ``image`` and ``text``; rows of one ``image_index`` (any integers)
      are captions of one image, whose embedding is taken from the first of them.

    Raises:
        UsageError: if the file is missing, unreadable, pickled, or not of that form; the message has one line.
    """
    try:
        with _regular(path):
            parts = {key: _number_tensor(key, part) for key, part in _READERS[path.suffix](path).items()}
        return make_embeddings(parts["image"], parts["text"], parts.get("image_index"))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


@contextmanager
def _regular(path: Path) -> Iterator[None]:
    """Refuse what is no regular file, or too large, before a library opens it by its name."""
    with open_file(path, most=ARRAY_BYTES):
        yield


def _npy(path: Path) -> dict[str, Array]:
    # np.load would also open an archive or a pickle; the map checks the size that the header names, and holds nothing.
    with parsing(path, "an array of numpy"):
        array = np.lib.format.open_memmap(path, mode="r")
    if array.ndim != 3 or len(array) != 2:
        raise ValueError(f"expected one array of shape (2, N, D), got {array.shape}")
    return {"image": array[0], "text": array[1]}


def _npz(path: Path) -> dict[str, Array]:
    with parsing(path, "a zip archive of arrays"), ZipFile(path) as archive:
        members = archive.infolist()
    _check_unpacked(sum(member.file_size for member in members))
    _present(member.filename.removesuffix(".npy") for member in members)
    with parsing(path, "arrays of numpy"), path.open("rb") as file, NpzFile(file, allow_pickle=False) as opened:
        return {key: _member(opened, key) for key in _present(opened.files)}


def _member(opened: Any, key: str) -> Array:
    """Return an array of an archive, whose header names no more numbers than there are.

    Raises:
        ValueError: for any other.
    """
    name = f"{key}.npy" if f"{key}.npy" in opened.zip.namelist() else key
    with opened.zip.open(name) as member:
        old = np.lib.format.read_magic(member) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, kind = read(member)
    if math.prod(shape) * kind.itemsize > opened.zip.getinfo(name).file_size:
        raise ValueError(f"{key}: the shape {shape} has more numbers than the file")
    return np.asarray(opened[key])


def _check_unpacked(size: int) -> None:
    """Raise ValueError for arrays above the limit."""
    if size > ARRAY_BYTES:
        raise ValueError(f"expected at most {size_words(ARRAY_BYTES)} unpacked, got {size_words(size)}")


def _safetensors(path: Path) -> dict[str, Tensor]:
    with parsing(path, "safetensors"), safe_open(path, framework="pt") as opened:
        names = list(opened.keys())
    keys = _present(names)
    with parsing(path, "safetensors"), safe_open(path, framework="pt") as opened:
        return {key: opened.get_tensor(key) for key in keys}


def _parquet(path: Path) -> dict[str, Array]:
    with extra("evaluate", f"{path}"):
        from pyarrow import parquet, types

    with parsing(path, "parquet"), parquet.ParquetFile(path) as opened:
        names = list(opened.schema_arrow.names)
        size = sum(opened.metadata.row_group(i).total_byte_size for i in range(opened.num_row_groups))
    keys = _present(names)
    _check_unpacked(size)
    with parsing(path, "parquet"):
        table = parquet.read_table(path, columns=keys, partitioning=None)
        table.validate(full=True)
    if not len(table):
        raise ValueError("expected at least one row, got none")
    parts = {key: _matrix(key, table.column(key)) for key in ("image", "text")}
    if "image_index" in keys:
        index = table.column("image_index")
        if not types.is_integer(index.type) or index.null_count:
            missing = f" and none in {index.null_count} rows" if index.null_count else ""
            raise ValueError(f"image_index: expected an integer in each row, got {index.type}{missing}")
        _, first, owner = np.unique(index.to_numpy(), return_index=True, return_inverse=True)
        parts |= {"image": parts["image"][first], "image_index": owner}
    return parts


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
        ValueError: if image or text is missing, or one is there twice.
    """
    found = Counter(names)
    for key in KEYS[:2]:
        if key not in found:
            got = ", ".join(sorted(found))
            raise ValueError(f"has no {key!r}: expected image, text and optionally image_index, got {got}")
    for key in KEYS:
        if found[key] > 1:
            raise ValueError(f"expected {key!r} once, got it {found[key]} times")
    return [key for key in KEYS if key in found]


_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def _number_tensor(key: str, part: Array | Tensor) -> Tensor:
    """Return numbers in a type that torch computes with: any integers as int64, floats of 8 bits as float32.

    Raises:
        ValueError: for what is no number, or none that fits.
    """
    if isinstance(part, Tensor):
        if part.dtype in _FLOAT8:
            return part.float()
        packed = part.is_floating_point() and part.dtype.itemsize < 2
        if part.is_floating_point() and not packed:
            return part
        if packed or part.is_complex() or part.dtype == torch.bool:
            raise ValueError(f"{key}: expected numbers, got {str(part.dtype).removeprefix('torch.')}")
        return _whole(key, part.numpy())
    if part.dtype.kind not in "fiu" or part.dtype.itemsize > 8:
        raise ValueError(f"{key}: expected numbers of at most 64 bits, got {part.dtype}")
    if part.dtype.kind != "f":
        return _whole(key, part)
    return torch.from_numpy(np.array(part, dtype=part.dtype.newbyteorder("="), order="C"))


def _whole(key: str, part: Array) -> Tensor:
    if part.dtype.kind == "u" and part.size and int(part.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{key}: expected integers below 2^63, got {int(part.max())}")
    return torch.from_numpy(part.astype(np.int64))


_READERS: Mapping[str, Callable[[Path], Mapping[str, Array | Tensor]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
}
