"""What the patients train on: pairs of a picture and a caption, from a user's CSV or made by us."""

import csv
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image


class Pairs(Protocol):
    """A sequence of (picture, caption) that knows what identifies its content."""

    @property
    def fingerprint(self) -> str:
        """Stable hash: the same in every process, another one where the content is another."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> tuple[Image.Image, str]:
        """Return picture and caption number i."""


class CsvPairs:
    """Pairs listed in a CSV file, or tab-separated where its name ends in .tsv, one line per caption.

    Picture paths are relative to the file's folder. Rows without a caption, or without a picture that Pillow
    recognises, are left out with one warning that counts them and shows the first.

    Raises:
        ValueError: the file cannot be read, lacks a column, or no row is usable.
    """

    def __init__(self, path: str | Path, *, image_column: str = "image", caption_column: str = "caption") -> None:
        self.path = Path(path)
        rows, faults = [], []
        for line, row in _read_rows(self.path, (image_column, caption_column)):
            fault = _fault(self.path.parent, row)
            if fault:
                faults.append(f"line {line}: {fault}")
            else:
                rows.append(row)
        if not rows:
            came = faults[0] if faults else "no rows"
            raise ValueError(f"{self.path}: expected rows with an existing picture and a caption; got {came}")
        if faults:
            total = len(rows) + len(faults)
            warnings.warn(
                f"{self.path}: left out {len(faults)} of {total} rows, the first at {faults[0]}", stacklevel=2
            )
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        """Return picture (RGB, transparency on white) and caption number i.

        Raises:
            ValueError: the picture's file is damaged.
        """
        image, text = self.rows[i]
        try:
            return _open_rgb(self.path.parent / image), text
        except OSError as error:
            raise ValueError(f"{self.path.parent / image}: expected a whole picture; got {error}") from error

    @property
    def fingerprint(self) -> str:
        """SHA-256 over captions and picture paths, and each picture's size in bytes and time of change."""
        digest = hashlib.sha256()
        for image, text in self.rows:
            stat = (self.path.parent / image).stat()
            digest.update(repr((image, text, stat.st_size, stat.st_mtime_ns)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class PairsSubset:
    """Some of the pairs of a whole, in the given order."""

    whole: Pairs
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        """Return picture and caption number i of the subset."""
        return self.whole[self.indices[i]]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the whole's fingerprint and the indices."""
        return hashlib.sha256(repr((self.whole.fingerprint, self.indices)).encode()).hexdigest()


def split_pairs(
    pairs: CsvPairs, *, val: float = 0.1, test: float = 0.1, seed: int = 0
) -> tuple[PairsSubset, PairsSubset, PairsSubset]:
    """Split into (train, val, test) by a hash of each picture's path.

    All captions of a picture fall into one part, and a picture keeps its part when others come or go. `val` and
    `test` are the expected shares, in [0, 1).

    Raises:
        ValueError: a share is out of range, or a part that should not be empty is.
    """
    if not (val >= 0 and test >= 0 and val + test < 1):
        raise ValueError(f"val, test: expected shares of at least 0 whose sum is below 1; got {val}, {test}")
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for i, (image, _) in enumerate(pairs.rows):
        position = _position(image, seed)
        parts["test" if position < test else "val" if position < test + val else "train"].append(i)
    for name, share in (("train", 1 - val - test), ("val", val), ("test", test)):
        if share > 0 and not parts[name]:
            raise ValueError(f"{pairs.path}: expected pictures for {name} ({share:.0%} of {len(pairs)} rows); got none")
    train_part, val_part, test_part = (PairsSubset(pairs, tuple(indices)) for indices in parts.values())
    return train_part, val_part, test_part


def _read_rows(path: Path, columns: tuple[str, str]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (line number, (picture path, caption)), stripped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            names = list(reader.fieldnames or ())
            if not set(columns) <= set(names):
                expected = " and ".join(columns)
                raise ValueError(f"{path}: expected columns {expected}; got {', '.join(names) or 'an empty file'}")
            for row in reader:
                image, text = ((row[column] or "").strip() for column in columns)
                yield reader.line_num, (image, text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8; got {error}") from error


def _fault(folder: Path, row: tuple[str, str]) -> str | None:
    """What makes the row unusable; of the picture only the header is read, pixels may still be damaged."""
    image, text = row
    if not text:
        return f"empty caption of {image!r}"
    if not image:
        return f"no picture for {text!r}"
    try:
        with Image.open(folder / image):
            return None
    except FileNotFoundError:
        return f"missing file {image!r}"
    except OSError:
        return f"not a picture: {image!r}"


def _open_rgb(path: Path) -> Image.Image:
    with Image.open(path) as image:
        if not image.has_transparency_data:
            return image.convert("RGB")
        layer = image.convert("RGBA")
    page = Image.new("RGB", layer.size, "white")
    page.paste(layer, mask=layer.getchannel("A"))
    return page


def _position(image: str, seed: int) -> float:
    """Hash of the picture's path as a number in [0, 1)."""
    name = Path(image).as_posix()
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
