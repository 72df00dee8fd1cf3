"""Frozen token features: computed once, cached on disk, memory-mapped.

A cache entry is a folder named after a hash of its inputs (tower, bytes of the images, captions, dtype), with
tokens.npy, text.npy, image_index.npy, and meta.json, which has each file's size and CRC-32, the damaged images, and the
number of truncated captions. An entry whose files do not match meta.json is rebuilt.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from edgeglass_models.data.pairs import Pairs
from edgeglass_models.data.rows import Fault
from edgeglass_models.towers import Tower

_META = "meta.json"
_FILES = ("tokens.npy", "text.npy", "image_index.npy")
_CHUNK = 1 << 22
# Part of the cache key: change it when the output of Tower or decode() changes.
_CONTENT = "last block before the final norm, projected text of all captions; EXIF orientation, 16 bits scaled"


@dataclass(frozen=True)
class Features:
    """Features of images and captions by a frozen tower, as memory-mapped copy-on-write arrays.

    Attributes:
        tokens: (N, L, D) of the requested dtype.
        text: (M, Dt) of float32.
        fingerprint: key of the cache entry.
        image_index: (M,) row of each caption's image, increasing; None if caption i belongs to image i.
        damaged: images that could not be decoded and are left out.
        cut: number of captions longer than the tower's context.
    """

    tokens: NDArray[Any]
    text: NDArray[np.float32]
    fingerprint: str
    image_index: NDArray[np.int64] | None = None
    damaged: tuple[Fault, ...] = ()
    cut: int = 0


def default_cache_dir() -> Path:
    """Return $EDGEGLASS_CACHE, or ~/.cache/edgeglass-diag if it is not set."""
    return Path(os.environ.get("EDGEGLASS_CACHE") or Path.home() / ".cache" / "edgeglass-diag")


def cached_features(
    tower: Tower,
    pairs: Pairs,
    *,
    cache_dir: str | Path | None = None,
    batch_size: int = 128,
    dtype: Literal["float16", "float32"] = "float16",
    progress: bool | None = None,
) -> Features:
    """Return the tower's features of all pairs, from the cache if it has them.

    Args:
        tower: the frozen tower; its fingerprint covers architecture, preprocessing and weights.
        pairs: images and captions.
        cache_dir: folder of the cache, `default_cache_dir()` if None.
        batch_size: images, and captions, per forward pass; it changes results by rounding only.
        dtype: of the tokens.
        progress: whether to show a progress bar on stderr; None if stderr is a terminal.

    Raises:
        ValueError: if there are no pairs, none can be decoded, or the cache folder cannot be written.
    """
    if not len(pairs):
        raise ValueError("pairs: expected at least one pair; got none")
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    key = hashlib.sha256(repr((_CONTENT, tower.fingerprint, pairs.fingerprint, dtype)).encode()).hexdigest()
    entry = folder / key[:32]
    if entry.exists():
        fault = _fault(entry, key)
        if fault is None:
            return _load(entry, key)
        warnings.warn(f"{entry}: damaged cache is computed again ({fault})", stacklevel=2)
    with _writable(folder) as partial:
        batches = _feature_batches(tower, pairs, batch_size, progress)
        _write(partial, key, np.dtype(dtype), batches)
        _put_in_place(partial, entry, key)
    return _load(entry, key)


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[Path]:
    """Make a new folder in the cache folder; it is removed at the end, also after an exception."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    except OSError as error:
        raise ValueError(
            f"cache_dir: expected a folder that can be written; got {folder} ({error.strerror})"
        ) from error
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, entry: Path, key: str) -> None:
    """Rename to the final name, unless another process has written a valid entry in the meantime."""
    if entry.exists():
        if _fault(entry, key) is None:
            return
        shutil.rmtree(entry)
    try:
        partial.rename(entry)
    except OSError:  # another process was faster since we looked
        if _fault(entry, key) is not None:
            raise


@dataclass(frozen=True)
class _Inputs:
    """Input of the tower for one batch: images (B, 3, H, W), token ids (C, context), number of captions per image."""

    images: Tensor | None
    token_ids: Tensor | None
    captions: list[int]
    damaged: list[Fault]
    cut: int


@dataclass(frozen=True)
class _Batch:
    """Output of the tower for one batch: tokens, text, captions per image; None if every image is damaged."""

    arrays: tuple[NDArray[Any], NDArray[Any], list[int]] | None
    damaged: list[Fault]
    cut: int


def _feature_batches(tower: Tower, pairs: Pairs, batch_size: int, progress: bool | None) -> Iterator[_Batch]:
    """Yield features batch by batch; a thread renders or reads the next batch meanwhile."""
    starts = range(0, len(pairs), batch_size)
    console = Console(stderr=True)
    device = next(tower.parameters()).device
    quiet = not (console.is_terminal if progress is None else progress)
    pictures = pairs.pictures(range(len(pairs)))
    with contextlib.closing(pictures), ThreadPoolExecutor(max_workers=1) as pool:
        upcoming = pool.submit(_inputs, tower, pairs, pictures, range(len(pairs))[:batch_size])
        for start in track(starts, "frozen features", console=console, disable=quiet):
            inputs = upcoming.result()
            following = range(len(pairs))[start + batch_size : start + 2 * batch_size]
            if following:
                upcoming = pool.submit(_inputs, tower, pairs, pictures, following)
            arrays = None
            if inputs.images is not None and inputs.token_ids is not None:
                with torch.inference_mode():
                    tokens = tower.image_tokens(inputs.images.to(device))
                    parts = torch.split(inputs.token_ids.to(device), batch_size)
                    text = torch.cat([tower.text_features(part) for part in parts])
                arrays = tokens.float().cpu().numpy(), text.float().cpu().numpy(), inputs.captions
            yield _Batch(arrays, inputs.damaged, inputs.cut)


def _inputs(tower: Tower, pairs: Pairs, pictures: Iterator[Image.Image | Fault], indices: range) -> _Inputs:
    """Decode and transform the next images one after the other."""
    images: list[Tensor] = []
    captions: list[tuple[str, ...]] = []
    damaged: list[Fault] = []
    for i in indices:
        picture = next(pictures)
        if isinstance(picture, Fault):
            damaged.append(picture)
        else:
            images.append(tower.transform(picture))
            captions.append(pairs.captions(i))
    texts = [text for several in captions for text in several]
    if not images:
        return _Inputs(None, None, [], damaged, 0)
    cut = sum(map(tower.cuts, texts))
    return _Inputs(torch.stack(images), tower.tokenizer(texts), list(map(len, captions)), damaged, cut)


def _write(folder: Path, key: str, dtype: np.dtype[Any], batches: Iterator[_Batch]) -> None:
    """Write the arrays and meta.json.

    It writes plain files, not a writable memory map: a full disk then raises OSError instead of a bus error.
    """
    done, damaged, cut = 0, list[Fault](), 0
    with contextlib.ExitStack() as stack:
        arrays = [_Rows(stack.enter_context((folder / name).open("wb"))) for name in _FILES]
        for batch in batches:
            damaged += batch.damaged
            cut += batch.cut
            if batch.arrays is None:
                continue
            tokens, text, captions = batch.arrays
            owners = np.repeat(np.arange(done, done + len(captions)), captions)
            columns: list[NDArray[Any]] = [tokens.astype(dtype), text.astype(np.float32), owners]
            for rows, array in zip(arrays, columns, strict=True):
                rows.append(array)
            done += len(captions)
        if not done:
            raise ValueError(f"expected pictures; got {len(damaged)} damaged ones, the first {damaged[0]}")
        for rows in arrays:
            rows.finish()
    files = {name: {"bytes": (folder / name).stat().st_size, "crc32": _crc32(folder / name)} for name in _FILES}
    meta = {"key": key, "files": files, "damaged": [asdict(fault) for fault in damaged], "cut": cut}
    (folder / _META).write_text(json.dumps(meta, indent=2) + "\n")


class _Rows:
    """An .npy file to which rows are appended; its header is rewritten when their number is known."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.count = file, 0
        self.first: NDArray[Any] | None = None

    def append(self, array: NDArray[Any]) -> None:
        if self.first is None:
            self.first = array[:1]
            self.file.write(_header(self.first, 1))
        self.file.write(array.tobytes())
        self.count += len(array)

    def finish(self) -> None:
        assert self.first is not None
        self.file.seek(0)
        self.file.write(_header(self.first, self.count))  # same length as the first header: numpy pads it


def _header(rows: NDArray[Any], n: int) -> bytes:
    """Return the header of an .npy file with `n` rows of this shape and dtype."""
    buffer = io.BytesIO()
    description = np.lib.format.header_data_from_array_1_0(rows) | {"shape": (n, *rows.shape[1:])}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _fault(entry: Path, key: str) -> str | None:
    """Return what is wrong with a cache entry, None if it is valid."""
    try:
        meta = json.loads((entry / _META).read_text())
        if meta["key"] != key:
            return f"{_META} belongs to other features"
        [Fault(**fault) for fault in meta["damaged"]], int(meta["cut"])
        for name in _FILES:
            file, expected = entry / name, meta["files"][name]
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
            if _crc32(file) != expected["crc32"]:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_META} or an array file is unreadable: {error!r}"
    return None


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            checksum = zlib.crc32(data, checksum)
    return checksum


def _load(entry: Path, key: str) -> Features:
    meta = json.loads((entry / _META).read_text())
    # Copy-on-write: torch.from_numpy warns about read-only arrays.
    tokens, text, owners = (np.load(entry / name, mmap_mode="c") for name in _FILES)
    return Features(tokens, text, key, owners, tuple(Fault(**fault) for fault in meta["damaged"]), meta["cut"])
