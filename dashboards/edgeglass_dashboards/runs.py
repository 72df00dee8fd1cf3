"""The run directories below one folder: which there are, and how one is opened by its path in the address."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from edgeglass_diag.records import UsageError
from edgeglass_diag.store import Run, find_runs, load

_PREFIX = "/run/"


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run in the picker: its path below the runs folder (``.`` for the folder itself) and its name."""

    path: str
    name: str

    @property
    def address(self) -> str:
        """The deep link of the run, for example ``/run/incident/perceiver``."""
        return _PREFIX + ("" if self.path == "." else quote(os.fsencode(self.path)))

    @property
    def label(self) -> str:
        """Path and name, as text that can be shown."""
        known = self.path.split("/")[-1] == self.name
        text = self.path if known else f"{self.name} ({self.path})"
        return text.encode("utf-8", "replace").decode("utf-8")


def list_runs(root: Path) -> list[RunEntry]:
    """All runs below ``root``, newest first; links that lead out of ``root`` are left out."""
    entries = []
    for folder in reversed(find_runs(root)):
        path = folder.relative_to(root).as_posix()
        try:
            with open_run(root, path) as run:
                entries.append(RunEntry(path, run.name))
        except UsageError:
            continue
    return entries


def open_run(root: Path, path: str) -> Run:
    """Open the run at ``path`` below ``root``.

    Raises:
        UsageError: when the path leads out of ``root``, or there is no whole run.
    """
    folder = root / path
    if not _is_below(root, path):
        raise UsageError(f"not a run below the runs folder: {path!r}")
    try:
        return load(folder)
    except UsageError as error:
        raise UsageError(str(error).replace(f"{root}{os.sep}", "")) from error


def path_of(address: str) -> str | None:
    """The run's path that an address names, None for an address without a run.

    >>> path_of("/run/incident/a%20b"), path_of("/run/"), path_of("/")
    ('incident/a b', '.', None)
    """
    if not address.startswith(_PREFIX):
        return None
    return os.fsdecode(unquote_to_bytes(address.removeprefix(_PREFIX))).rstrip("/") or "."


def _is_below(root: Path, path: str) -> bool:
    """Whether the folder and the two files in it lie below ``root``, also after following links."""
    if ".." in Path(path).parts or "\0" in path:
        return False
    folder, bound = root / path, root.resolve()
    try:
        files = [file.resolve() for file in (folder, folder / "run.json", folder / "signals.sqlite")]
        return all(file.is_relative_to(bound) for file in files) and folder.exists()
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return False
