"""Pictures and captions of a user: CSV, JSON lines, parquet, arrow, COCO captions, tar shards, patterns."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import TOKENS
from tests.fuzz.recipes import said

CAPTIONS = ("a red square", "a blue disc", "null", "NaN", "words, with a comma", 'and "quotes"', "ü")


@cache
def pictures() -> dict[str, bytes]:
    """Return four small pictures by their file names."""
    from PIL import Image

    made = {}
    for number in range(4):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (number * 60, 10, 200)).save(file, "PNG")
        made[f"{number}.png"] = file.getvalue()
    return made


def _captions(random: Random) -> dict[str, str]:
    return {name: random.choice(CAPTIONS) for name in pictures()}


def _known(held: dict[str, str]) -> list[str]:
    return [caption.strip() for caption in held.values()]


def _some(random: Random) -> Any:
    return random.choice(
        (
            None,
            1,
            [],
            {},
            "",
            "x",
            [None],
            {"bytes": 3},
            ["a", 1],
            2.5,
            True,
            "https://x/y.png",
            "../" * 30,
            *TOKENS[:8],
            "a" * 300,
        )
    )


def csv_table(random: Random) -> Input:
    """Return a table of file names and captions."""
    import csv

    held = _captions(random)
    rows = [["image", "caption"], *([name, caption] for name, caption in held.items())]
    expected: Any = _known(held)
    if random.random() < 0.6:
        row = random.choice(rows)
        row[random.randrange(2)] = random.choice(TOKENS)
        expected = None
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return Input({**pictures(), "data.csv": file.getvalue().encode("utf-8", "replace")}, ("data.csv",), expected)


def json_table(random: Random) -> Input:
    """Return records of file names and captions."""
    held = _captions(random)
    rows: list[Any] = [{"image": name, "caption": caption} for name, caption in held.items()]
    expected: Any = _known(held)
    if random.random() < 0.6:
        random.choice(rows)[random.choice(("image", "caption", "x"))] = _some(random)
        expected = None
    return Input(
        {**pictures(), "data.jsonl": "\n".join(json.dumps(row) for row in rows).encode()}, ("data.jsonl",), expected
    )


def columnar(suffix: str) -> Callable[[Random], Input]:
    """Return what makes parquet or arrow files of pictures and captions."""

    def make(random: Random) -> Input:
        import pyarrow
        from pyarrow import ipc, parquet

        held = _captions(random)
        captions: Any = pyarrow.array(list(held.values()))
        stored: Any = pyarrow.array([pictures()[name] for name in held])
        expected: Any = _known(held)
        if random.random() < 0.5:
            expected = None
            other = random.choice(
                (
                    pyarrow.array([None] * 4),
                    pyarrow.array([1, 2, 3, 4]),
                    pyarrow.array([["a"], [], None, ["b", "c"]]),
                    pyarrow.array([{"a": 1}] * 4),
                    pyarrow.array([b"ab"] * 4),
                    pyarrow.array(["a", "b", "a", "b"]).dictionary_encode(),
                    pyarrow.array([1.5] * 4),
                    pyarrow.array([[[1]]] * 4),
                )
            )
            captions, stored = (other, stored) if random.random() < 0.5 else (captions, other)
        names = random.choice(
            (["image", "caption"], ["image", "caption"], ["image", "image"], ["caption", "caption"], ["x", ""])
        )
        table = pyarrow.Table.from_arrays([stored, captions], names=names)
        file = io.BytesIO()
        if suffix == "parquet":
            parquet.write_table(table, file, row_group_size=random.choice((1, 2, 9)))
        else:
            with random.choice((ipc.new_file, ipc.new_stream))(file, table.schema) as writer:
                writer.write_table(table)
        return Input(
            {f"data.{suffix}": file.getvalue()},
            (f"data.{suffix}",),
            expected if names == ["image", "caption"] else None,
        )

    return make


def coco(random: Random) -> Input:
    """Return captions as COCO has them."""
    held = _captions(random)
    images: list[Any] = [{"id": number, "file_name": name} for number, name in enumerate(held)]
    annotations: list[Any] = [{"image_id": number, "caption": caption} for number, caption in enumerate(held.values())]
    content: Any = {"images": images, "annotations": annotations}
    expected: Any = _known(held)
    if random.random() < 0.6:
        random.choice((images, annotations))[random.randrange(4)][
            random.choice(("id", "file_name", "image_id", "caption"))
        ] = _some(random)
        expected = None
    if random.random() < 0.1:
        content[random.choice(("images", "annotations"))] = _some(random)
        expected = None
    return Input({**pictures(), "data.json": json.dumps(content).encode()}, ("data.json",), expected)


def shard(random: Random) -> Input:
    """Return a tar of pictures beside their captions."""
    held = _captions(random)
    expected: Any = _known(held)
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode=random.choice(("w", "w:gz")), format=random.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    ) as archive:
        for name, caption in held.items():
            text = caption.encode()
            if random.random() < 0.1:
                text, expected = random.choice(TOKENS).encode("utf-8", "surrogatepass"), None
            for member, data in (
                (name, pictures()[name]),
                (name.replace(".png", random.choice((".txt", ".json")) if expected is None else ".txt"), text),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    name = "data.tar.gz" if file.getvalue()[:2] == b"\x1f\x8b" else "data.tar"
    return Input({name: file.getvalue()}, (name,), expected)


def pattern(random: Random) -> Input:
    """Return a name of files with braces and stars."""
    word = random.choice(
        (
            "{0..99999999999}.tar",
            "{a,b}.csv",
            "{" * 200,
            "*" * 300,
            "**/" * 100,
            "{1..2}" * 12 + ".csv",
            "[",
            "data.{csv,tar}",
            "a" * 300 + ".csv",
            "folder",
            "{00..99}" * 4,
            "data.csv/x",
            "/dev/zero",
            ".",
            "data.xyz",
            "{9..0}.csv",
            "{a,b}" * 30 + ".tar",
            "data.csv",
        )
    )
    return Input({"data.csv": b"image,caption\n"}, (word,))


def scan_data(folder: Path, given: Input) -> None:
    """Read the captions.

    Raises:
        RefusedError: for data that cannot be used.
    """
    try:
        read_captions(folder, given.arguments[0])
    except ValueError as error:
        said(error)


def read_captions(folder: Path, name: str) -> list[str]:
    """Return the first caption of each picture of all data."""
    from edgeglass_models.data.pairs import UserPairs
    from edgeglass_models.data.reading import Source
    from edgeglass_models.data.scan import scan

    source = Source(folder / name)
    entries = scan(source, {"all": None}).parts["all"]
    pairs = UserPairs(source, tuple(entries))
    list(pairs.pictures(range(len(pairs))))
    return [entry.captions[0] for entry in entries]


def _read(folder: Path) -> list[str]:
    return read_captions(folder, next(file.name for file in folder.iterdir() if file.name.startswith("data")))


def _reader(name: str, make: Callable[[Random], Input], share: float = 0.5) -> Reader:
    def seeds() -> list[Input]:
        return [one for one in map(make, map(Random, range(100))) if one.expected is not None][:6]

    return Reader(name, cache(seeds), make, scan_data, _read, share)


DATA = (
    _reader("data: CSV", csv_table),
    _reader("data: JSON lines", json_table),
    _reader("data: parquet", columnar("parquet")),
    _reader("data: arrow", columnar("arrow")),
    _reader("data: COCO", coco),
    _reader("data: tar shards", shard),
    _reader("data: patterns", pattern, 0.1),
)
