"""Open a user's file: a regular file of a known size, or one error that says what came instead."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from edgeglass_diag.errors import UsageError

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def is_file(path: Path) -> bool:
    """Return whether a regular file is there; a name that none can have, or a place that is closed, is no file."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Return whether a folder is there; likewise."""
    return os.path.isdir(path)


def exists(path: Path) -> bool:
    """Return whether anything is there; likewise."""
    return os.path.exists(path)


def nothing_at(path: Path, expected: str) -> UsageError:
    """Return the error for a path at which nothing can be read, such as ``no such file: x``."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return UsageError(f"no such {expected}: {path}")
    except (OSError, ValueError) as error:
        return UsageError(f"no such {expected}: {path} ({getattr(error, 'strerror', None) or error})")
    return UsageError(f"no such {expected}: {path}")


@contextmanager
def open_file(path: Path, *, most: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most ``most`` bytes for reading.

    Raises:
        UsageError: for a folder, pipe or device, a file that is too large, or one that cannot be opened or read.
    """
    if "\0" in str(path):
        raise nothing_at(path, "file")
    try:
        # A pipe that has no writer, or a device, is opened without waiting for anything.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            check_regular(path, os.fstat(descriptor), most=most)
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise nothing_at(path, "file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_regular(path: Path, found: os.stat_result, *, most: int) -> None:
    """Check that a file is a regular one of at most ``most`` bytes.

    Raises:
        UsageError: that says what it is instead.
    """
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        raise UsageError(f"{path}: expected a file, got {kind}")
    if found.st_size > most:
        raise too_large(path, found.st_size, most)


def too_large(path: Path, size: int, most: int) -> UsageError:
    """Return the error for a file above its limit."""
    return UsageError(f"{path}: expected at most {size_words(most)}, got {size_words(size)}")


def size_words(size: int) -> str:
    """Return a number of bytes in words.

    >>> size_words(900), size_words(3 << 20), size_words(8 << 30)
    ('900 bytes', '3 MiB', '8 GiB')
    """
    for unit, width in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << width:
            return f"{size / (1 << width):.3g} {unit}"
    return f"{size} bytes"


def read_bytes(path: Path, *, most: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        UsageError: as ``open_file``.
    """
    with open_file(path, most=most) as file:
        data = file.read(most + 1)  # the size that the system tells may be 0, as below /proc
        if len(data) > most:
            raise too_large(path, len(data), most)
    return data


def read_text(path: Path, *, most: int) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        UsageError: as ``open_file``, and for bytes that are no text.
    """
    data = read_bytes(path, most=most)
    try:
        return data.decode(_encoding(data[:3]))
    except UnicodeDecodeError as error:
        raise no_text(path, error) from None


@contextmanager
def open_text(path: Path, *, most: int) -> Iterator[TextIO]:
    """Open a text, line by line as it stands there, in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        UsageError: as ``read_text``, also while it is read.
    """
    with open_file(path, most=most) as file:
        encoding = _encoding(file.peek(3)[:3] if isinstance(file, io.BufferedReader) else b"")
        try:
            with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
                yield text
        except UnicodeError as error:
            raise no_text(path, error) from None


def no_text(path: Path, error: UnicodeError) -> UsageError:
    """Return the error for bytes that are no text."""
    return UsageError(f"{path}: expected text in UTF-8, or in UTF-16 with a byte order mark, got {error}")


def _encoding(beginning: bytes) -> str:
    return next((name for mark, name in _MARKS if beginning.startswith(mark)), "utf-8")


@contextmanager
def parsing(where: str | Path, expected: str) -> Iterator[None]:
    """Turn whatever a library raises for a file that it cannot parse into one error.

    Parsers of foreign formats raise any exception for a damaged file, also MemoryError for a length that it names.

    Raises:
        UsageError: that names the place, what was expected, and what the library says.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{where}: expected {expected}, got: {str(error) or type(error).__name__}") from error
