"""A repository in a scratch folder that reads the objects of the user's one: whatever git writes stays in it."""

from __future__ import annotations

import os
import shutil
from functools import cached_property
from pathlib import Path

from edgeglass_diag.replaying.revisions.git import RevisionError, git, listed
from edgeglass_diag.replaying.revisions.lfs import fill_pointers

_SETTINGS = r"^(core\.(autocrlf|eol|excludesfile|filemode)|filter\..*)$"
"""Settings of a repository on which the content of its files depends, and which files it ignores."""


class SharedRepository:
    """A bare repository beside the user's one, with its objects by reference and its branches and tags by copy.

    ``git worktree`` in the user's repository would write to its ``.git``, and leave that there when it is killed. Even
    the index is read in a copy: git renews the time of a shared one that it reads.

    Attributes:
        tree: top folder of the user's files.
        folder: the bare repository.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self._made: dict[str, SharedRepository] = {}
        objects = git(tree, "rev-parse", "--show-object-format").strip()
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--bare", "--template=", f"--object-format={objects}", ".")
        (folder / "objects" / "info").mkdir(exist_ok=True)
        (folder / "objects" / "info" / "alternates").write_bytes(os.fsencode(self.common / "objects") + b"\n")
        refs = git(tree, "for-each-ref", "--format=%(objectname) %(refname)")
        (folder / "packed-refs").write_bytes(os.fsencode(refs))
        own = Path(git(tree, "rev-parse", "--path-format=absolute", "--git-dir").rstrip("\n"))
        for file in (own / "index", *own.glob("sharedindex.*"), self.common / "shallow"):
            if file.is_file():
                shutil.copy2(file, folder / file.name)
        (folder / "info").mkdir(exist_ok=True)
        for name in ("info/attributes", "info/exclude"):
            if (self.common / name).is_file():
                shutil.copyfile(self.common / name, folder / name)
        self._copy_settings()

    @cached_property
    def common(self) -> Path:
        """Return the user's repository itself, also for one of several work trees of it."""
        return Path(git(self.tree, "rev-parse", "--path-format=absolute", "--git-common-dir").rstrip("\n"))

    @cached_property
    def minds_modes(self) -> bool:
        """Return whether it counts that a file is executable; not so where the file system does not keep it."""
        return git(self.folder, "config", "--type=bool", "core.filemode").strip() == "true"

    def _copy_settings(self) -> None:
        try:
            found = listed(git(self.tree, "config", "-z", "--get-regexp", _SETTINGS))
        except RevisionError:  # there is none
            return
        for name, _, value in (entry.partition("\n") for entry in found):
            if not name.startswith("filter.lfs."):
                git(self.folder, "config", "--replace-all" if name == "core.filemode" else "--add", name, value)

    def of_tree(self, *words: str) -> str:
        """Return what git says of the user's tree, by the copy of its index."""
        return git(self.tree, f"--git-dir={self.folder}", f"--work-tree={self.tree}", *words)

    def check_out(self, commit: str, place: Path) -> None:
        """Make a folder of the files of a commit, with those of submodules that the user has checked out.

        Raises:
            RevisionError: if an object is missing, or a filter of the repository fails.
        """
        self.check_out_alone(commit, place)
        for path, of in submodules(place).items():
            if (child := self.child(path)) is not None:
                child.check_out(of, place / path)

    def check_out_alone(self, commit: str, place: Path) -> None:
        """Make a folder of the files of a commit, without those of submodules."""
        git(self.folder, "worktree", "add", "--quiet", "--force", "--detach", str(place), commit)

    def child(self, path: str) -> SharedRepository | None:
        """Return the repository of a submodule; None where the user has not checked it out."""
        if path not in self._made:
            tree = self.tree / path
            if not (tree / ".git").exists():
                return None
            self._made[path] = SharedRepository(tree, self.folder / "children" / str(len(self._made)))
        return self._made[path]

    def fill_pointers(self, place: Path) -> None:
        """Put the content of files that Git LFS keeps into a folder that was checked out, by links to the user's.

        Raises:
            RevisionError: if it is not on this machine.
        """
        children = [child.common for path in submodules(place) if (child := self.child(path)) is not None]
        fill_pointers(place, self.tree, [each / "lfs" / "objects" for each in (self.common, *children)])


def submodules(place: Path) -> dict[str, str]:
    """Return the commits of the submodules in a work tree, by their paths."""
    entries = (entry.partition("\t") for entry in listed(git(place, "ls-files", "-z", "--stage")))
    return {path: facts.split()[1] for facts, _, path in entries if facts.startswith("160000")}
