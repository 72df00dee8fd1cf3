"""Embeddings for ``eval``: npy, npz, safetensors, parquet."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.command_line import run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import mutated

INTEGERS = ("i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", ">u4", "<i8", ">i8", "<u8", ">u8")
ODD_TYPES = ("?", "<c8", "<M8[s]", "<m8[s]", "<U3", "S2", "V4", "<g", "<G", "<i4,<f4")
EVAL = ("--no-curve",)


def embeddings(random: Random) -> dict[str, np.ndarray[Any, Any]]:
    """Return both sides and the image of each caption, seldom with odd values."""
    images, width = random.randint(1, 6), random.randint(1, 5)
    captions = images + random.randint(0, 4)
    draw = np.random.default_rng(random.randrange(2**32))
    kind = random.choice(("<f4", "<f4", "<f8", "<f2", ">f4"))
    image, text = (draw.standard_normal((n, width)).astype(kind) for n in (images, captions))
    if random.random() < 0.3:
        side = random.choice((image, text))
        side[random.randrange(len(side)), random.randrange(width)] = random.choice(
            (np.nan, np.inf, -np.inf, 0, 6e4, 1e-7)
        )
    index = draw.integers(0, images, captions).astype(random.choice(INTEGERS))
    return {"image": image, "text": text, "image_index": index}


def _odd(random: Random, parts: dict[str, np.ndarray[Any, Any]]) -> None:
    """Change one array to a type, a shape or a size that is none of embeddings'."""
    key = random.choice(list(parts))
    array = parts[key]
    kind = random.randrange(7)
    if kind == 0:
        parts[key] = np.zeros(array.shape, dtype=random.choice(ODD_TYPES))
    elif kind == 1:
        parts[key] = array.reshape(-1)[: random.randint(0, 3)]
    elif kind == 2:
        parts[key] = array[..., None] if random.random() < 0.5 else np.asarray(1.5)
    elif kind == 3:
        parts[key] = array[:0]
    elif kind == 4:
        parts[key] = array.astype("<f8" if array.dtype.kind == "f" else "<i8") - random.choice((1, 200))
    elif kind == 5:
        parts[key] = np.array([object()] * len(array), dtype=object)
    else:
        parts[random.choice(("image ", "x", "", "a/b"))] = parts.pop(key)


def _known(parts: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, list[Any]]:
    return {key: array.astype("=f8").tolist() for key, array in parts.items()}


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """Return an npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy(random: Random) -> Input:
    """Return pairs in one array; some with a header that says something else than the file has."""
    side = embeddings(random)["image"]
    both = np.stack([side, -side])
    content = npy_bytes(both)
    kind = random.randrange(4)
    if kind == 0:
        header = {
            "descr": random.choice((*INTEGERS, *ODD_TYPES, "|O", "<f4", "x" * 300)),
            "fortran_order": random.choice((True, 1, None)),
            "shape": random.choice(((2, 10**12, 8), (2, -1, 4), (2,), (), (2, 0, 0), (2, 3, 10**30), (2.0, 1, 1), "a")),
        }
        text = random.choice((repr(header), "(" * 300 + "1" + ")" * 300, "{'a': " * 99, repr(header)[:-3]))
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + both.tobytes()
        return Input({"e.npy": content}, ("eval", "e.npy", *EVAL))
    if kind == 1:
        parts = {"image": both}
        _odd(random, parts)
        return Input({"e.npy": npy_bytes(next(iter(parts.values())))}, ("eval", "e.npy", *EVAL))
    known = {"image": side, "text": -side, "image_index": np.arange(len(side))}
    return Input({"e.npy": content}, ("eval", "e.npy", *EVAL), _known(known))


def npz(random: Random) -> Input:
    """Return an archive of arrays, or of odd members: encrypted, twice the same name, none of numpy's."""
    parts = embeddings(random)
    if random.random() < 0.4:
        _odd(random, parts)
        file = io.BytesIO()
        np.savez(file, **{key or "_": array for key, array in parts.items()})
        return Input({"e.npz": file.getvalue()}, ("eval", "e.npz", *EVAL))
    members = [(f"{key}.npy", npy_bytes(array)) for key, array in parts.items()]
    expected: Any = _known(parts)
    kind = random.randrange(4)
    if kind == 0:
        expected = None
        members.append(
            random.choice(
                ((members[0][0], members[1][1]), ("image", b"none"), ("text.npy", b"words"), ("x" * 300, b""))
            )
        )
    if kind == 1:
        expected = None
        at = random.randrange(len(members))
        members[at] = (members[at][0], mutated(random, members[at][1], [data for _, data in members]))
    content = zipped(members, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))
    if kind == 2:
        content, expected = _encrypted(content), None
    return Input({"e.npz": content}, ("eval", "e.npz", *EVAL), expected)


def zipped(members: list[tuple[str, bytes]], form: int) -> bytes:
    """Return an archive."""
    import warnings

    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", form) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def _encrypted(content: bytes) -> bytes:
    """Return the archive with the flag of encryption on each member."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(mark)
        while at >= 0:
            changed[at + offset] |= 1
            at = changed.find(mark, at + 4)
    return bytes(changed)


def safetensors_bytes(
    tensors: Mapping[str, tuple[str, list[int], bytes]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file of (type, shape, bytes) by name."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at, body = 0, b""
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at, body = at + len(data), body + data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def safetensors(random: Random) -> Input:
    """Return tensors, of each type that the format has, or with a header that does not fit."""
    parts = embeddings(random)
    image, text = (parts[key].astype("<f4") for key in ("image", "text"))
    index = parts["image_index"].astype("<i8")
    tensors = {
        "image": ("F32", list(image.shape), image.tobytes()),
        "text": ("F32", list(text.shape), text.tobytes()),
        "image_index": ("I64", list(index.shape), index.tobytes()),
    }
    expected: Any = _known({"image": image, "text": text, "image_index": index})
    kind = random.randrange(4)
    if kind == 0:
        expected = None
        key = random.choice(list(tensors))
        form = random.choice(
            ("F8_E4M3", "F8_E5M2", "BOOL", "U8", "I8", "U16", "U32", "U64", "BF16", "F64", "C64", "F4", "I16")
        )
        size = {"F64": 8, "U64": 8, "C64": 8, "U16": 2, "BF16": 2, "I16": 2, "U32": 4}.get(form, 1)
        shape = tensors[key][1]
        tensors[key] = (form, shape, bytes(int(np.prod(shape)) * size))
    if kind == 1:
        expected = None
        key = random.choice(list(tensors))
        form, shape, data = tensors[key]
        tensors[key] = (form, random.choice(([], [0], [10**18, 10**18], shape[::-1], [*shape, 1])), data)
    content = safetensors_bytes(tensors)
    if kind == 2:
        expected = None
        length = struct.unpack("<Q", content[:8])[0]
        header = mutated(random, content[8 : 8 + length], [content])
        content = (
            struct.pack("<Q", random.choice((len(header), len(header), 2**63, 0))) + header + content[8 + length :]
        )
    return Input({"e.safetensors": content}, ("eval", "e.safetensors", *EVAL), expected)


def _lists(array: np.ndarray[Any, Any]) -> Any:
    import pyarrow

    return pyarrow.array(array.tolist(), type=pyarrow.list_(pyarrow.float64()))


def parquet(random: Random) -> Input:
    """Return a table of embeddings, or one whose columns are of other types or have a name twice."""
    import pyarrow
    from pyarrow import parquet as files

    parts = embeddings(random)
    index = parts["image_index"].astype("=i8")
    integers = pyarrow.array(
        index * 3 - 7, type=random.choice((pyarrow.int8(), pyarrow.int16(), pyarrow.int32(), pyarrow.int64()))
    )
    table: list[tuple[str, Any]] = [
        ("image", _lists(parts["image"].astype("=f8")[index])),
        ("text", _lists(parts["text"].astype("=f8"))),
        ("image_index", integers),
    ]
    expected: Any = {
        "text": parts["text"].astype("=f8").tolist(),
        "owners": parts["image"].astype("=f8")[index].tolist(),
    }
    if random.random() < 0.5:
        expected = None
        at, count = random.randrange(3), len(index)
        other = random.choice(
            (
                pyarrow.array([None] * count),
                pyarrow.array(["a"] * count),
                pyarrow.array([[1, 2]] * count),
                pyarrow.array([["a"]] * count),
                pyarrow.array([[]] * count, type=pyarrow.list_(pyarrow.float32())),
                pyarrow.array([2**63 + 5] * count, type=pyarrow.uint64()),
                pyarrow.array([True] * count),
                pyarrow.array([[[1.0]]] * count),
                pyarrow.array([{"a": 1}] * count),
                pyarrow.array([1.5] * count),
                pyarrow.array([[1.0, 2.0]] * count, type=pyarrow.list_(pyarrow.float16())),
                pyarrow.array(["a"] * count).dictionary_encode(),
                pyarrow.array([[1.0]] * count, type=pyarrow.large_list(pyarrow.float32())),
                pyarrow.array([b"ab"] * count, type=pyarrow.binary(2)),
            )
        )
        table[at] = (random.choice((table[at][0], table[at][0], table[at - 1][0], "x")), other)
    if random.random() < 0.1:
        table, expected = [(name, column.slice(0, 0)) for name, column in table], None
    file = io.BytesIO()
    names, arrays = zip(*table, strict=True)
    files.write_table(
        pyarrow.Table.from_arrays(list(arrays), names=list(names)), file, row_group_size=random.choice((1, 2, 100))
    )
    return Input({"e.parquet": file.getvalue()}, ("eval", "e.parquet", *EVAL), expected)


def read(name: str, folder: Path) -> dict[str, list[Any]]:
    """Return what ``eval`` reads."""
    from edgeglass_diag.evaluation.sources import read_embeddings

    found = read_embeddings(folder / name)
    image, text = found.image.double(), found.text.double().tolist()
    if name == "e.parquet":  # which integers name the images is open
        return {"text": text, "owners": image[found.image_of_text].tolist()}
    return {"image": image.tolist(), "text": text, "image_index": found.image_of_text.double().tolist()}


def _reader(name: str, file: str, make: Callable[[Random], Input]) -> Reader:
    def seeds() -> list[Input]:
        inputs = (make(Random(number)) for number in range(400))
        return [one for one in inputs if one.expected is not None][:8]

    return Reader(name, cache(seeds), make, run, partial(read, file))


ARRAYS = (
    _reader("embeddings: npy", "e.npy", npy),
    _reader("embeddings: npz", "e.npz", npz),
    _reader("embeddings: safetensors", "e.safetensors", safetensors),
    _reader("embeddings: parquet", "e.parquet", parquet),
)
