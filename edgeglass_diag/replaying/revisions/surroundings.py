"""What lies in a user's folder beside the files of git, such as data, and is there in every revision."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeglass_diag.replaying.revisions.overlay import ENVIRONMENT

_MOST = 1000
"""Entries of a folder above which it is linked as a whole: links to each file of a data set would cost more than the
replay. In smaller ones new files, such as caches, stay in the scratch folder."""

_LEFT_OUT = frozenset({".git", "__pycache__"})


@dataclass(frozen=True)
class Surroundings:
    """Files that git does not know.

    Attributes:
        tree: top folder of the user's files.
        paths: of files, and of folders that are linked as a whole, below it.
    """

    tree: Path
    paths: tuple[str, ...]

    def lay(self, place: Path) -> None:
        """Put links to the files into a folder that was checked out, where it has nothing at their paths.

        Python sources are copied: a script's folder, where it looks for its modules, is that behind a link.
        """
        root = place.resolve()
        for path in self.paths:
            target = place / path
            if os.path.lexists(target) or not _can_be_made(target.parent, root):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".py" and (self.tree / path).is_file():
                shutil.copyfile(self.tree / path, target)
            else:
                target.symlink_to(self.tree / path)


def find_surroundings(tree: Path, of_revisions: Iterable[str], scratch: Path) -> Surroundings:
    """Return what git does not know in a folder, its new source files apart.

    Args:
        tree: top folder of the user's files.
        of_revisions: paths that git knows, and these source files.
        scratch: a folder that is left out, as replays are in it.
    """
    known = [tree / path for path in of_revisions]
    left_out = {str(path) for path in (*known, scratch)}
    folders = {str(parent) for path in known for parent in path.parents}
    found = _walk(str(tree), left_out, folders)
    return Surroundings(tree, tuple(sorted(os.path.relpath(path, tree) for path in found)))


def _walk(folder: str, left_out: set[str], of_git: set[str]) -> Iterator[str]:
    """Yield files, and folders to be linked; only folders without a file of git are."""
    try:
        entries = list(os.scandir(folder))
    except PermissionError:
        return
    if folder not in of_git and (len(entries) > _MOST or any(each.name == ENVIRONMENT for each in entries)):
        yield folder
        return
    for entry in entries:
        if entry.name in _LEFT_OUT or entry.path in left_out:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, left_out, of_git)
        else:
            yield entry.path


def _can_be_made(folder: Path, root: Path) -> bool:
    """Return whether a folder stands below the root or can be made there: a link of a revision may lead out of it."""
    standing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    return standing.is_dir() and standing.resolve().is_relative_to(root)
