"""WebDataset shards: tar files in which consecutive members with the same name up to the first dot are a sample."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edgeglass_diag.user_input.files import size_words
from edgeglass_diag.user_input.json_text import parse_json
from edgeglass_diag.user_input.limits import PICTURE_BYTES
from edgeglass_models.data.rows import Fault, Row, Rows, StoredAt, one_line

_PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm")
_TEXTS = ("txt", "caption", "text")
_BLOCK = 512


class _Member(NamedTuple):
    """Offset of a member's header in the tar, and its content."""

    offset: int
    data: bytes


_Sample = dict[str, _Member]


def shard_rows(path: Path, caption_key: str | None = None) -> Rows:
    """Yield the samples of a shard: an image, and a caption in .txt or under `caption_key` ("caption") of .json.

    A truncated or damaged shard yields the samples before the damage and then a fault.

    Raises:
        ValueError: if the file is not a tar.
    """
    done = 0
    try:
        with tarfile.open(path) as archive:
            key, sample = "", _Sample()
            for member in archive:
                if not member.isfile():
                    continue
                name, extension = _parts(member.name)
                if name != key and sample:
                    yield _row(path, key, sample, caption_key)
                    done, sample = done + 1, _Sample()
                key = name
                if member.size > PICTURE_BYTES:
                    raise tarfile.ReadError(f"a member of {size_words(member.size)}, above {size_words(PICTURE_BYTES)}")
                file = archive.extractfile(member)
                sample[extension] = _Member(member.offset, b"" if file is None else file.read())
            # tarfile treats a damaged header as the end of the archive; a real end is a block of zeros.
            if archive.fileobj is None or not _ends_here(archive):
                raise tarfile.ReadError("no end of archive where the last member ends")
            if sample:
                yield _row(path, key, sample, caption_key)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (tarfile.TarError, OSError, EOFError) as error:
        if not done and not _begins_as_tar(path):
            raise ValueError(f"{path}: expected a tar file; got {one_line(error)}") from error
        yield Fault("cut-off or damaged shard", str(path), f"after {done} whole samples: {one_line(error)}")


def stored_members(path: Path, offsets: Sequence[int]) -> Generator[bytes | None]:
    """Yield the bytes of the members whose headers are at these offsets; None for one that is not a file.

    Raises:
        ValueError: if the file is not a tar.
    """
    try:
        with tarfile.open(path) as archive:
            assert archive.fileobj is not None
            for offset in offsets:
                archive.fileobj.seek(offset)
                file = archive.extractfile(tarfile.TarInfo.fromtarfile(archive))
                yield None if file is None else file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path}: expected a tar file; got {one_line(error)}") from error


def _parts(name: str) -> tuple[str, str]:
    """Return (key, extension) as webdataset splits a name: "a/0001.seg.png" is ("a/0001", "seg.png")."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    return str(path.with_name(stem or path.name)), extension.lower()


def _row(path: Path, key: str, sample: _Sample, caption_key: str | None) -> Row | Fault:
    place = f"{path} sample {key}"
    picture = next((sample[extension] for extension in _PICTURES if extension in sample), None)
    if picture is None:
        return Fault("sample without a picture", place, f"has {', '.join(sample)}")
    location = StoredAt(path, picture.offset)
    text = None if caption_key else next((sample[extension] for extension in _TEXTS if extension in sample), None)
    try:
        if text is not None:
            return Row(place, picture.data, (text.data.decode("utf-8"),), location)
        if "json" not in sample:
            return Fault("sample without a caption", place, f"has {', '.join(sample)}")
        caption = parse_json(sample["json"].data.decode("utf-8"), place).get(caption_key or "caption")
    except (ValueError, AttributeError) as error:
        return Fault("caption that is unreadable", place, str(error))
    return Row(place, picture.data, tuple(caption) if isinstance(caption, list) else (caption,), location)


def _ends_here(archive: tarfile.TarFile) -> bool:
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    return archive.fileobj.read(_BLOCK) == bytes(_BLOCK)


def _begins_as_tar(path: Path) -> bool:
    """Return whether the file begins with the header of a tar."""
    try:
        with tarfile.open(path) as archive:
            return archive.next() is not None
    except (tarfile.TarError, OSError, EOFError):
        return False
