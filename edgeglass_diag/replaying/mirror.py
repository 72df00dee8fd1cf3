"""A copy of the file tree that costs nothing: real folders whose files are links to the originals. No torch.

What is read comes from the originals. What is written replaces a link by a file of the mirror's own, so that it stays
there. A folder is a link as well until something in it is written or its parent is listed; then it becomes a real one.
Small files in and below the working directory are copies from the start: writers in C++ and Rust open them unseen by
us, and a script that looks for its real path finds the mirror.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".replay"
"""Ending of the names of folders that hold what a replay needs; a mirror leaves them out, as it may lie in one."""

_HEAD_START = 2000
"""Entries below the working directory that are mirrored at once, for programs that list folders unseen by us."""

_MOST_BYTES, _MOST_BYTES_IN_ALL = 2**24, 2**26
"""Bytes of a file that is copied at once, and of all of them."""


@dataclass(frozen=True)
class Mirror:
    """The mirror of the whole tree below ``root``, so that ``..`` leads where it leads in the original.

    Attributes:
        root: its folder, absolute and without links.
        absent: absolute paths that it leaves out, with all that is in them.
    """

    root: str
    absent: frozenset[str] = frozenset()

    def at(self, original: str) -> str:
        """Return the place in the mirror of an absolute path."""
        return self.root + os.path.normpath(original)

    def original(self, place: str) -> str:
        """Return the absolute path for which a place in the mirror stands; others are their own."""
        return self._original(place) if self.holds(place) else place

    def holds(self, place: str) -> bool:
        """Return whether an absolute path lies in the mirror."""
        return place == self.root or place.startswith(self.root + os.sep)

    def open(self, folder: str, *, head_start: bool = False) -> str:
        """Return the real folder in the mirror that stands for an absolute one.

        Args:
            folder: the original, which exists.
            head_start: make its folders real as well, and its small files copies, up to some 2,000 entries and 64 MiB,
                but for hidden folders and links.
        """
        os.makedirs(self.root, exist_ok=True)
        self._fill(self.root)
        self.make_real(self.at(self._around))  # else a walk that follows links would come back here
        place = self.at(folder)
        self.make_real(place)
        if head_start:
            self._make_all_real(place)
        return place

    def make_real(self, place: str) -> None:
        """Replace each link of the mirror on the way to a folder, itself included, by a real folder."""
        way = self.root
        for part in filter(None, place[len(self.root) :].split(os.sep)):
            way = os.path.join(way, part)
            if self._is_link(way):
                self._make_folder(way)
            elif self._original(way) in self.absent:
                return
            elif not os.path.lexists(way) and os.path.isdir(self._original(way)):
                os.mkdir(way)  # of a folder that may be entered and not listed
                self._fill(way)

    def prepare_listing(self, place: str) -> None:
        """Make the folders in a real one real, as who walks a tree may leave out folders behind links.

        In a folder that is a link the entries are the originals, and nothing is to do.
        """
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in list(entries):
                if self._is_link(entry.path):
                    self._make_folder(entry.path)

    def prepare_write(self, place: str, *, keep: bool) -> None:
        """Replace the links of the mirror on the way to a file, and at it, so that it can be written.

        Args:
            place: path in the mirror.
            keep: the file begins as a copy of the original; else with nothing.
        """
        self.make_real(os.path.dirname(place))
        if not self._is_link(place):
            return
        if os.path.isdir(place):
            self._make_folder(place)
        elif not keep or not os.path.isfile(place):
            os.unlink(place)
        else:
            copy = tempfile.mktemp(dir=os.path.dirname(place))
            shutil.copy2(place, copy)
            os.chmod(copy, os.stat(copy).st_mode | 0o200)
            os.replace(copy, place)

    def _original(self, place: str) -> str:
        return place[len(self.root) :] or os.sep

    def _is_link(self, place: str) -> bool:
        """Return whether this is a link of ours: the program's own links lead elsewhere."""
        try:
            return os.readlink(place) == self._original(place)
        except OSError:
            return False

    def _make_folder(self, place: str) -> None:
        """Replace a link to a folder by a real one; do nothing where it leads to a file, or another process did."""
        if not os.path.isdir(place):
            return
        made = tempfile.mkdtemp(dir=os.path.dirname(place))
        os.chmod(made, 0o777 & os.stat(place).st_mode | 0o700)
        self._fill(made, self._original(place))
        try:
            os.unlink(place)
            os.rename(made, place)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)

    @property
    def _around(self) -> str:
        """Return the folder that holds the mirror, or the outermost folder of a replay around it."""
        way = Path(self.root)
        replays = [folder.parent for folder in way.parents if folder.name.endswith(SUFFIX)]
        return str(replays[-1] if replays else way.parent)

    def _fill(self, folder: str, original: str | None = None) -> None:
        original = self._original(folder) if original is None else original
        with contextlib.suppress(PermissionError), os.scandir(original) as entries:
            for entry in entries:
                if entry.path == self.root or entry.name.endswith(SUFFIX) or entry.path in self.absent:
                    continue
                with contextlib.suppress(FileExistsError):
                    os.symlink(os.path.join(original, entry.name), os.path.join(folder, entry.name))

    def _make_all_real(self, place: str) -> None:
        left, room = _HEAD_START, _MOST_BYTES_IN_ALL
        waiting = [place]
        while waiting and left > 0:
            folder = waiting.pop(0)
            room = self._copy_files(folder, room)
            for name in list(_folders(folder)):
                self._make_folder(os.path.join(folder, name))
                waiting.append(os.path.join(folder, name))
            left -= len(os.listdir(folder))

    def _copy_files(self, folder: str, room: int) -> int:
        """Replace links to small files by copies; return how many bytes more may be copied."""
        with os.scandir(folder) as entries:
            links = [each for each in entries if self._is_link(each.path) and not _is_link_of_the_original(each.path)]
        for entry in links:
            with contextlib.suppress(OSError):
                if entry.is_file() and (size := entry.stat().st_size) <= min(room, _MOST_BYTES):
                    copy = tempfile.mktemp(dir=folder)
                    shutil.copy2(entry.path, copy)
                    os.replace(copy, entry.path)
                    room -= size
        return room


def _folders(folder: str) -> Iterator[str]:
    """Yield the names of folders in a folder of the mirror that are neither hidden nor links in the original."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith(".") and not _is_link_of_the_original(entry.path):
                yield entry.name


def _is_link_of_the_original(place: str) -> bool:
    return os.path.islink(place) and os.path.islink(os.readlink(place))


def of_scratch(scratch: str, absent: Sequence[str] = ()) -> Mirror:
    """Return the mirror of a replay with the folder ``scratch``, without what is ``absent``."""
    return Mirror(str(Path(scratch).resolve() / "tree"), frozenset(absent))
