"""The user's working tree as it is, as what differs from its last commit: taken once, laid over a checkout of it."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeglass_diag.replaying.revisions.git import RevisionError, git, listed
from edgeglass_diag.replaying.revisions.lfs import holds, pointer
from edgeglass_diag.replaying.revisions.shared import SharedRepository, submodules

SOURCES = frozenset({".py", ".pyi", ".pyx", ".sh", ".cfg", ".ini", ".toml", ".yaml", ".yml"})
"""Endings of files that a person writes for a program: new ones that git does not ignore belong to the working tree,
and no commit has them. What else git does not know is data, which every revision sees."""

ENVIRONMENT = "pyvenv.cfg"
"""File in a folder of installed packages. Source: https://peps.python.org/pep-0405."""


@dataclass(frozen=True)
class Overlay:
    """What the working tree has changed since its last commit.

    Attributes:
        repository: whose working tree it is.
        head: its last commit.
        folder: copies of the files that differ or are new.
        changed: paths of these.
        removed: paths that the commit has and the working tree has not.
        known: paths that git knows.
        added: those of ``changed`` that the commit has not.
        unknown: new source files that git does not know, which no commit has.
        children: the same of its submodules.
    """

    repository: SharedRepository
    head: str
    folder: Path
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    known: tuple[str, ...]
    added: tuple[str, ...]
    unknown: tuple[str, ...]
    children: Mapping[str, Overlay] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs from the last commit."""
        return not (self.changed or self.removed) and all(child.is_empty for child in self.children.values())

    @property
    def of_revisions(self) -> list[str]:
        """Return the paths that a revision has or has not: all that git knows, and new source files."""
        within = (f"{path}/{name}" for path, child in self.children.items() for name in child.of_revisions)
        return [*(path for path in self.known if path not in self.children), *self.unknown, *within]

    def check_out(self, place: Path) -> None:
        """Make a folder of the working tree's files.

        New files are in its index with no content, so that ``git diff`` shows them.
        """
        self.repository.check_out_alone(self.head, place)
        for path in self.removed:
            _remove(place / path)
            _remove_empty(place, path)
        for path in self.changed:
            _copy(self.folder / path, place, path)
        if self.added:
            nothing = git(place, "hash-object", "-t", "blob", "--stdin").strip()
            entries = "".join(f"100644 {nothing}\t{path}\0" for path in self.added)
            git(place, "update-index", "-z", "--index-info", given=os.fsencode(entries))
        for path, child in self.children.items():
            child.check_out(place / path)


def take_overlay(repository: SharedRepository, scratch: Path) -> Overlay:
    """Return what the user's working tree has changed; its files are compared byte by byte, and none is touched.

    Args:
        repository: whose working tree it is.
        scratch: a folder that does not exist yet.

    Raises:
        RevisionError: if the repository has no commit, or it cannot be checked out.
    """
    tree, place, folder = repository.tree, scratch / "head", scratch / "changed"
    head = _last_commit(tree)
    folder.mkdir(parents=True)
    repository.check_out_alone(head, place)
    committed = set(listed(git(place, "ls-files", "-z")))
    unknown = _unknown_sources(repository)
    known, absent = _index(repository)
    modules = {path: child for path in submodules(place) if (child := repository.child(path)) is not None}
    paths = (committed | known | set(unknown)) - set(modules) - set(submodules(place))
    present = {path for path in paths if os.path.lexists(tree / path) and not _is_folder(tree / path)}
    changed = sorted(path for path in present if not _same(place / path, tree / path, repository.minds_modes))
    for path in changed:
        _copy(tree / path, folder, path)
    removed = sorted(committed & paths - present - absent)
    shutil.rmtree(place)
    children = {path: take_overlay(child, scratch / f"child-{n}") for n, (path, child) in enumerate(modules.items())}
    return Overlay(
        repository,
        head,
        folder,
        changed=tuple(changed),
        removed=tuple(removed),
        known=tuple(known),
        added=tuple(sorted(set(changed) - committed)),
        unknown=tuple(unknown),
        children=children,
    )


def _unknown_sources(repository: SharedRepository) -> list[str]:
    """Return the source files in a working tree that git neither knows nor ignores."""
    found = repository.of_tree("ls-files", "-z", "--others", "--exclude-standard")
    others = [Path(path) for path in listed(found)]
    environments = {path.parent for path in others if path.name == ENVIRONMENT}
    sources = (path for path in others if path.suffix in SOURCES and environments.isdisjoint(path.parents))
    return [str(path) for path in sources]


def _last_commit(tree: Path) -> str:
    try:
        return git(tree, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
    except RevisionError:
        raise RevisionError(f"{tree} has no commit yet, so there is nothing to compare with") from None


def _index(repository: SharedRepository) -> tuple[set[str], set[str]]:
    """Return the paths that git knows, and those of them that a sparse checkout leaves out."""
    entries = [entry.split(" ", 1) for entry in listed(repository.of_tree("ls-files", "-z", "-t"))]
    return {path for _, path in entries}, {path for tag, path in entries if tag == "S"}


def _same(committed: Path, present: Path, minds_modes: bool) -> bool:
    if committed.is_symlink() or present.is_symlink():
        return committed.is_symlink() and present.is_symlink() and os.readlink(committed) == os.readlink(present)
    if not committed.is_file() or not present.is_file():
        return False
    if (oid := pointer(committed)) is not None:
        return holds(present, oid)
    executable = [file.stat().st_mode & 0o100 for file in (committed, present)]
    same_mode = executable[0] == executable[1] or not minds_modes
    return same_mode and filecmp.cmp(committed, present, shallow=False)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _copy(source: Path, root: Path, path: str) -> None:
    """Copy a file to its place below a root, where a folder or a link may stand in its way."""
    place = root
    for part in Path(path).parts:
        place /= part
        _remove(place)
    if place.is_dir():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, place, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()


def _remove_empty(root: Path, path: str) -> None:
    """Remove the folders of a file that is gone, as git does."""
    for parent in Path(path).parents[:-1]:
        if not _is_folder(root / parent) or any((root / parent).iterdir()):
            return
        (root / parent).rmdir()
