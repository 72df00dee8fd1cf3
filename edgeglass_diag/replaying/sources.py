"""What tells the code of a program from that of an edited one: a digest of the Python files around it. No torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgeglass_diag.replaying.mirror import SUFFIX

_MOST_FILES = 5_000
"""Python files that are read."""

_MOST_BYTES = 2**20
"""Bytes of a file that are read; longer ones are written by machines."""


def sources_of(folder: str) -> str:
    """Return a digest of the Python files in a folder and below it, in hexadecimal.

    Hidden folders, virtual environments and folders of replays are passed over, and at most 5,000 files are read.
    """
    digest, left = hashlib.sha256(), _MOST_FILES
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_passed_over(os.path.join(place, name)))
        for name in sorted(each for each in files if each.endswith(".py"))[:left]:
            file = Path(place) / name
            digest.update(f"{file.relative_to(folder)}\0".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(_content(file)).digest())
            left -= 1
        if left <= 0:
            break
    return digest.hexdigest()


def _is_passed_over(folder: str) -> bool:
    name = os.path.basename(folder)
    hidden = name.startswith((".", "__pycache__")) or name.endswith(SUFFIX)
    return hidden or os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES)
    except OSError:
        return b""
