"""Frozen token features: computed once, kept on disk, memory-mapped.

A cache entry is a folder named after what determines its content (tower, pairs, number format), with tokens.npy,
text.npy, and meta.json which holds each file's size and CRC-32. An entry that does not match them is rebuilt.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from edgeglass_models.data.pairs import Pairs
from edgeglass_models.towers import Tower

_META = "meta.json"
_FILES = ("tokens.npy", "text.npy")
_CHUNK = 1 << 22
_CONTENT = "last block before the final norm, projected text"  # to be changed with what Tower gives; part of the key


@dataclass(frozen=True)
class Features:
    """What a frozen tower makes of a set of pairs, as memory-mapped arrays (copy-on-write: the files stay).

    Shapes: `tokens` (N, L, D) in the number format asked for, `text` (N, Dt) in float32.
    """

    tokens: NDArray[Any]
    text: NDArray[np.float32]
    fingerprint: str


def default_cache_dir() -> Path:
    """Return $EDGEGLASS_CACHE, or ~/.cache/edgeglass-diag where it is not set."""
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
    """Return the tower's features of all pairs, from the cache where it has them.

    Args:
        tower: the frozen tower; its fingerprint covers architecture, preprocessing and weights.
        pairs: pictures and captions.
        cache_dir: where entries are kept, `default_cache_dir()` if None.
        batch_size: pictures per forward pass; the result is the same within rounding.
        dtype: number format of the tokens.
        progress: show a progress bar on stderr; None means where stderr is a terminal.

    Raises:
        ValueError: there are no pairs, or the cache folder cannot be written.
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
        warnings.warn(f"{entry}: damaged cache is computed anew ({fault})", stacklevel=2)
    with _writable(folder) as partial:
        batches = _feature_batches(tower, pairs, batch_size, progress)
        _write(partial, key, len(pairs), np.dtype(dtype), batches)
        _put_in_place(partial, entry, key)
    return _load(entry, key)


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[Path]:
    """A new folder within the cache folder, gone at the end whatever happens."""
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
    """Rename to the final name; if another process was first and its entry is sound, that one stays."""
    if entry.exists():
        if _fault(entry, key) is None:
            return
        shutil.rmtree(entry)
    partial.rename(entry)


def _feature_batches(
    tower: Tower, pairs: Pairs, batch_size: int, progress: bool | None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield (tokens, text) batch by batch; a thread draws or reads the next batch while this one is computed."""
    starts = range(0, len(pairs), batch_size)
    console = Console(stderr=True)
    device = next(tower.parameters()).device
    quiet = not (console.is_terminal if progress is None else progress)
    with ThreadPoolExecutor(max_workers=1) as pool:
        upcoming = pool.submit(_inputs, tower, pairs, range(len(pairs))[:batch_size])
        for start in track(starts, "frozen features", console=console, disable=quiet):
            images, token_ids = upcoming.result()
            following = range(len(pairs))[start + batch_size : start + 2 * batch_size]
            if following:
                upcoming = pool.submit(_inputs, tower, pairs, following)
            with torch.inference_mode():
                tokens = tower.image_tokens(images.to(device))
                text = tower.text_features(token_ids.to(device))
            yield tokens.float().cpu().numpy(), text.float().cpu().numpy()


def _inputs(tower: Tower, pairs: Pairs, indices: range) -> tuple[Tensor, Tensor]:
    batch = [pairs[i] for i in indices]
    return torch.stack([tower.transform(image) for image, _ in batch]), tower.tokenizer([text for _, text in batch])


def _write(
    folder: Path, key: str, n: int, dtype: np.dtype[Any], batches: Iterator[tuple[NDArray[Any], NDArray[Any]]]
) -> None:
    """Write the arrays and meta.json.

    Through plain files, not a writable memory map: a full disk is then an OSError and not a bus error.
    """
    checksums = dict.fromkeys(_FILES, 0)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("wb")) for name in _FILES]
        for batch in batches:
            arrays = (batch[0].astype(dtype), batch[1].astype(np.float32))
            for name, file, array in zip(_FILES, files, arrays, strict=True):
                data = array.tobytes()
                if not file.tell():
                    data = _header(array, n) + data
                checksums[name] = zlib.crc32(data, checksums[name])
                file.write(data)
    sizes = {name: (folder / name).stat().st_size for name in _FILES}
    meta = {"key": key, "files": {name: {"bytes": sizes[name], "crc32": checksums[name]} for name in _FILES}}
    (folder / _META).write_text(json.dumps(meta, indent=2) + "\n")


def _header(first_batch: NDArray[Any], n: int) -> bytes:
    """Header of an .npy file with `n` rows of the batch's kind."""
    buffer = io.BytesIO()
    description = np.lib.format.header_data_from_array_1_0(first_batch) | {"shape": (n, *first_batch.shape[1:])}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _fault(entry: Path, key: str) -> str | None:
    """What is wrong with a cache entry, None if nothing is."""
    try:
        meta = json.loads((entry / _META).read_text())
        if meta["key"] != key:
            return f"{_META} belongs to other features"
        for name in _FILES:
            file, expected = entry / name, meta["files"][name]
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
            if _crc32(file) != expected["crc32"]:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_META} or a file beside it is unreadable: {error!r}"
    return None


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            checksum = zlib.crc32(data, checksum)
    return checksum


def _load(entry: Path, key: str) -> Features:
    # Copy-on-write, as torch.from_numpy warns about arrays that cannot be written.
    tokens, text = (np.load(entry / name, mmap_mode="c") for name in _FILES)
    return Features(tokens, text, key)
