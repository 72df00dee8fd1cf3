"""Folders in which replays of other revisions of a program run, each made of the user's repository without a change."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgeglass_diag.replaying.revisions.git import RevisionError, git
from edgeglass_diag.replaying.revisions.import_roots import import_roots, python_path
from edgeglass_diag.replaying.revisions.overlay import take_overlay
from edgeglass_diag.replaying.revisions.shared import SharedRepository
from edgeglass_diag.replaying.revisions.surroundings import Surroundings, find_surroundings

WORKING_TREE = "working tree"
"""The revision that is the user's files as they are, with changes that are in no commit."""


@dataclass(frozen=True)
class State:
    """A state of a program's files.

    Attributes:
        revision: hash of a commit, or ``WORKING_TREE``.
        patch: changes that are made to it, as git writes them; bytes that are no UTF-8 as surrogates.
    """

    revision: str
    patch: str = ""


@dataclass(frozen=True)
class Place:
    """A folder that holds a state of the program's files.

    Attributes:
        root: where the top folder of the user's files is.
        folder: where the user's working directory is.
        environment: variables that a replay needs, so that it imports nothing from the user's files.
        tree: top folder of the user's files.
    """

    root: Path
    folder: Path
    environment: Mapping[str, str]
    tree: Path

    def counterpart(self, path: Path) -> Path:
        """Return what a path of the user's is here; itself outside of the repository."""
        full = path if path.is_absolute() else self.folder / path
        return self.root / full.relative_to(self.tree) if full.is_relative_to(self.tree) else full


class Worktrees:
    """Makes folders of revisions, of the working tree and of changed ones, in a scratch folder that ends with it.

    The user's files and repository are read alone: objects are referred to by a repository in the scratch folder, and
    what a killed process leaves lies in it. Data are links to the user's: what runs here has to be guarded against
    writes to other places.

    Args:
        folder: the user's working directory, in a repository.
        scratch: folder in which a scratch folder is made; that of the system if None.

    Attributes:
        tree: top folder of the user's files.
        repository: what is checked out, within the context.
        overlay: changes that are in no commit, as they are when the context begins.

    Raises:
        RevisionError: if the folder is in no repository, or, when the context begins, it has no commit.
    """

    def __init__(self, folder: Path, scratch: Path | None = None) -> None:
        self._given, self._parent, self._numbers = folder.resolve(), scratch, itertools.count()
        self.tree = Path(git(self._given, "rev-parse", "--show-toplevel").rstrip("\n")).resolve()

    def __enter__(self) -> Worktrees:
        self._scratch = Path(tempfile.mkdtemp(prefix="revisions-", dir=self._parent)).resolve()
        try:
            self.repository = SharedRepository(self.tree, self._scratch / "repository.git")
            self.overlay = take_overlay(self.repository, self._scratch / "working-tree")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    @cached_property
    def _surroundings(self) -> Surroundings:
        return find_surroundings(self.tree, self.overlay.of_revisions, self._scratch)

    @cached_property
    def _roots(self) -> list[Path]:
        known = {parent for path in self.overlay.known for parent in (self.tree / path).parents}
        return [root for root in import_roots(self.tree) if root in known]

    def commit(self, name: str) -> str:
        """Return the hash of the commit of a name such as ``HEAD~30`` or a tag.

        Raises:
            RevisionError: if there is none.
        """
        try:
            return git(self.tree, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()
        except RevisionError:
            raise RevisionError(f"no such revision in {self.tree}: {name}") from None

    def present(self) -> str:
        """Return the revision that the user has: ``WORKING_TREE`` if it differs from the last commit, else that."""
        return self.overlay.head if self.overlay.is_empty else WORKING_TREE

    @contextmanager
    def bare(self, state: State) -> Iterator[Path]:
        """Make a folder of the files of a state alone, which ends with the context.

        Raises:
            RevisionError: if it cannot be checked out, or its patch does not apply.
        """
        place = self._scratch / f"{next(self._numbers)}"
        try:
            if state.revision == WORKING_TREE:
                self.overlay.check_out(place)
            else:
                self.repository.check_out(state.revision, place)
            if state.patch:
                given = os.fsencode(state.patch)
                git(place, "apply", "--unidiff-zero", "--whitespace=nowarn", "-", given=given)
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            git(self.repository.folder, "worktree", "prune")

    @contextmanager
    def place(self, state: State) -> Iterator[Place]:
        """Make a folder in which a state of the program can run: with data that git does not know, by links.

        Raises:
            RevisionError: likewise, or if Git LFS keeps a file whose content is not on this machine.
        """
        with self.bare(state) as root:
            self.repository.fill_pointers(root)
            self._surroundings.lay(root)
            folder = root / self._given.relative_to(self.tree)
            if not folder.is_dir():
                where = folder.relative_to(root)
                raise RevisionError(f"{where}: the working directory does not exist in {state.revision[:10]}")
            variables = {"PYTHONPATH": found} if (found := python_path(self.tree, root, self._roots)) else {}
            yield Place(root, folder, variables, self.tree)
