"""What keeps a replay from writing outside of its scratch folder. No torch.

Two layers. An audit hook of Python sees each file that Python opens for writing, moves or deletes: it prepares the
mirror, so that what is written by a relative path stays there, and names what it refuses. Landlock, where the kernel
has it, refuses the same to all code of the process and of those that it starts.
"""

from __future__ import annotations

import glob
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeglass_diag.replaying import landlock
from edgeglass_diag.replaying.mirror import Mirror

LANDLOCK = "landlock"
AUDIT_HOOK = "audit hook"
"""Names of the guards; with the second alone, other programs that the replay starts are not guarded."""

_DEVICES = ("/dev", "/proc")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class WriteRefusedError(PermissionError):
    """Raised where a replay would write outside of its scratch folder."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: a replay writes in its scratch folder alone; --allow-write '{path}' lets it")
        self.path = path


def refusal_in(error: BaseException | None) -> WriteRefusedError | None:
    """Return the refusal that an error is, or that it was raised for; None if there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, WriteRefusedError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


@dataclass
class Guard:
    """The guard of one process.

    Attributes:
        mirror: of the file tree.
        folders: where the replay may write, absolute and without links.
        patterns: of further files that it may write.
        refused: paths that were refused, in order.
        by_kernel: whether the kernel refuses as well.
    """

    mirror: Mirror
    folders: Sequence[str]
    patterns: Sequence[str] = ()
    refused: list[str] = field(default_factory=list)
    by_kernel: bool = False
    _inside: threading.local = field(default_factory=threading.local)

    def begin(self) -> None:
        """Watch from now on what Python opens, moves and deletes; nothing takes it back."""
        sys.addaudithook(self._hear)

    def restrict(self) -> str:
        """Let the kernel refuse what is not allowed, where it can; return the name of the guard."""
        if landlock.version() < landlock.COMPLETE:
            return AUDIT_HOOK
        allowed = {Path(folder): landlock.ALL for folder in (*self.folders, *self._opened(), "/dev/shm")}
        devices = {Path(folder): landlock.Access.WRITE_FILE for folder in _DEVICES}
        self.by_kernel = True
        landlock.restrict({place: access for place, access in {**devices, **allowed}.items() if place.exists()})
        return LANDLOCK

    def check_write(self, path: object, *, keep: bool = True, follow: bool = True, folder: int = -1) -> None:
        """Let a file be written, deleted or replaced, or refuse it.

        Args:
            path: as the program gives it; numbers of open files are of no interest.
            keep: whether something of the old content is left by what comes.
            follow: whether a link at the path is followed.
            folder: number of the open folder that the path is relative to, -1 for the working directory.

        Raises:
            WriteRefusedError: if it may not be written.
        """
        if isinstance(path, str | bytes | os.PathLike):
            with self._unheard():
                self._check(_absolute(os.fsdecode(path), folder), keep, follow)

    def _check(self, place: str, keep: bool, follow: bool) -> None:
        if self.mirror.holds(place):
            if follow:
                self.mirror.prepare_write(place, keep=keep)
            else:
                self.mirror.make_real(os.path.dirname(place))
        parent, name = os.path.split(place)
        real = os.path.realpath(place) if follow else os.path.join(os.path.realpath(parent), name)
        if not self._is_allowed(real):
            self.refused.append(real)
            raise WriteRefusedError(real)

    def _is_allowed(self, real: str) -> bool:
        folders = (*self.folders, *_DEVICES)
        return any(real == each or real.startswith(each + os.sep) for each in folders) or any(
            fnmatch(real, pattern) for pattern in self.patterns
        )

    def _opened(self) -> list[str]:
        """Return what the kernel opens so that files of the patterns can be written, as it knows no patterns.

        Those that exist; where there are none, or with ``/**`` at its end, the folder in which they would be.
        """
        opened: list[str] = []
        for pattern in self.patterns:
            existing = [] if pattern.endswith("/**") else glob.glob(pattern, recursive=True)
            opened += existing or [_folder_of(pattern)]
        return opened

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        answer = _EVENTS.get(event)
        if answer is None or getattr(self._inside, "hook", False):
            return
        with self._unheard():
            answer(self, *arguments)

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """A block in which the hook does not hear what the guard itself does."""
        before, self._inside.hook = getattr(self._inside, "hook", False), True
        try:
            yield
        finally:
            self._inside.hook = before

    def _opens(self, path: object, mode: object, flags: int) -> None:
        if flags & _WRITING:
            self.check_write(path, keep=not flags & os.O_TRUNC)

    def _connects(self, database: object) -> None:
        """A file that is only read is opened for writing too, and again for reading where the kernel refuses that."""
        text = os.fsdecode(database) if isinstance(database, str | bytes | os.PathLike) else ""
        if text.startswith("file:"):
            address = urlsplit(text)
            text = "" if "mode=" in address.query.replace("mode=rw", "") else unquote(address.path)
        if text in ("", ":memory:"):
            return
        if not self.by_kernel:
            self.check_write(text)
        elif self.mirror.holds(place := _absolute(text, -1)):
            self.mirror.prepare_write(place, keep=True)

    def _lists(self, path: object, *_: object) -> None:
        given = "." if path is None else path
        if isinstance(given, str | bytes | os.PathLike):
            place = _absolute(os.fsdecode(given), -1)
            if self.mirror.holds(place):
                self.mirror.prepare_listing(place)

    def _moves(self, source: object, target: object, source_folder: int = -1, target_folder: int = -1) -> None:
        self._own(source, source_folder)
        self.check_write(source, follow=False, folder=source_folder)
        self.check_write(target, follow=False, folder=target_folder)

    def _own(self, source: object, folder: int) -> None:
        """Give the mirror a folder of its own where one is moved: a link would lead what is written out of it."""
        if isinstance(source, str | bytes | os.PathLike):
            place = _absolute(os.fsdecode(source), folder)
            if self.mirror.holds(place):
                self.mirror.prepare_write(place, keep=True)

    def _links(self, source: object, target: object, source_folder: int = -1, target_folder: int = -1) -> None:
        self.check_write(source, folder=source_folder)  # by either name it would be the same file
        self.check_write(target, follow=False, folder=target_folder)


def _folder_of(pattern: str) -> str:
    """Return the last folder on the way to the files of a pattern that exists."""
    way = Path(pattern).parent
    while glob.has_magic(str(way)) or not way.is_dir():
        way = way.parent
    return str(way)


def _absolute(path: str, folder: int) -> str:
    if folder != -1 and not os.path.isabs(path):
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    return os.path.abspath(path)


def _changes(guard: Guard, path: object, *details: Any) -> None:
    """A change of what a file holds or of its mode, owner or times."""
    guard.check_write(path)


def _removes(guard: Guard, path: object, folder: int = -1) -> None:
    guard.check_write(path, follow=False, folder=folder)


def _makes(guard: Guard, path: object, mode: int, folder: int = -1) -> None:
    guard.check_write(path, follow=False, folder=folder)


def _points(guard: Guard, source: object, target: object, folder: int = -1) -> None:
    guard.check_write(target, follow=False, folder=folder)


_EVENTS: dict[str, Callable[..., None]] = {
    "open": Guard._opens,
    "os.rename": Guard._moves,
    "os.link": Guard._links,
    "os.symlink": _points,
    "os.remove": _removes,
    "os.rmdir": _removes,
    "os.mkdir": _makes,
    "os.truncate": _changes,
    "os.chmod": _changes,
    "os.chown": _changes,
    "os.utime": _changes,
    "os.setxattr": _changes,
    "os.removexattr": _changes,
    "os.scandir": Guard._lists,
    "os.listdir": Guard._lists,
    "sqlite3.connect": Guard._connects,
}
