"""WebDataset shards: tar files in which a sample is the run of members that share a name up to its first dot."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path, PurePosixPath

from edgeglass_models.data.rows import Fault, Row, Rows, one_line

_PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm")
_TEXTS = ("txt", "caption", "text")
_BLOCK = 512


def shard_rows(path: Path, caption_key: str | None = None) -> Rows:
    """Samples of one shard: a picture, and a caption in .txt or under `caption_key` ("caption") of .json.

    A shard that is cut off or damaged in the middle gives the samples before that place and then a fault.

    Raises:
        ValueError: the file is no tar at all.
    """
    done = 0
    try:
        with tarfile.open(path) as archive:
            key, sample = "", dict[str, bytes]()
            for member in archive:
                if not member.isfile():
                    continue
                name, extension = _parts(member.name)
                if name != key and sample:
                    yield _row(path, key, sample, caption_key)
                    done, sample = done + 1, {}
                key = name
                file = archive.extractfile(member)
                sample[extension] = b"" if file is None else file.read()
            # Python's tarfile takes a damaged header for the end; a real end is a block of zeros.
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


def _parts(name: str) -> tuple[str, str]:
    """(key, extension): "a/0001.seg.png" is ("a/0001", "seg.png"), as webdataset splits it."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    return str(path.with_name(stem or path.name)), extension.lower()


def _row(path: Path, key: str, sample: dict[str, bytes], caption_key: str | None) -> Row | Fault:
    place = f"{path} sample {key}"
    picture = next((sample[extension] for extension in _PICTURES if extension in sample), None)
    if picture is None:
        return Fault("sample without a picture", place, f"has {', '.join(sample)}")
    text = None if caption_key else next((sample[extension] for extension in _TEXTS if extension in sample), None)
    try:
        if text is not None:
            return Row(place, picture, (text.decode("utf-8"),))
        if "json" not in sample:
            return Fault("sample without a caption", place, f"has {', '.join(sample)}")
        caption = json.loads(sample["json"].decode("utf-8")).get(caption_key or "caption")
    except (UnicodeDecodeError, ValueError, AttributeError) as error:
        return Fault("caption that is unreadable", place, str(error))
    return Row(place, picture, tuple(caption) if isinstance(caption, list) else (caption,))


def _ends_here(archive: tarfile.TarFile) -> bool:
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    return archive.fileobj.read(_BLOCK) == bytes(_BLOCK)


def _begins_as_tar(path: Path) -> bool:
    """Whether the first header is that of a tar, so that what is wrong came later."""
    try:
        with tarfile.open(path) as archive:
            return archive.next() is not None
    except (tarfile.TarError, OSError, EOFError):
        return False
