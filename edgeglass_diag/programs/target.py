"""Which program a command line names, as Python itself would take it."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edgeglass_diag.records import UsageError

Kind = Literal["script", "module", "folder"]


@dataclass(frozen=True)
class Program:
    """A program to be run as ``__main__``.

    ``script`` is a file, ``module`` a name as behind ``python -m``, ``folder`` a directory or archive that holds a
    ``__main__.py``.
    """

    kind: Kind
    target: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.target if self.kind == "module" else Path(self.target).resolve().stem

    @property
    def facts(self) -> dict[str, object]:
        """What ``run.json`` says of it."""
        return {"kind": self.kind, "target": self.target, "arguments": list(self.arguments)}


def find_program(target: str, arguments: Sequence[str]) -> Program | None:
    """The program at a path; None where the target is something else, such as the name of a recipe.

    Raises:
        UsageError: when a script or an archive is meant and there is none.
    """
    path = Path(target)
    if target.endswith(".py") and not path.is_dir():
        if not path.is_file():
            raise UsageError(f"no such script: {target}")
        return Program("script", target, tuple(arguments))
    if (path / "__main__.py").is_file() or (path.is_file() and _has_main(path)):
        return Program("folder", target, tuple(arguments))
    return None


def find_module(name: str, arguments: Sequence[str]) -> Program:
    """The program behind ``-m``. Only its first name is looked up here: importing is for the run itself.

    Raises:
        UsageError: when the first name is no module.
    """
    first = name.split(".")[0]
    if not first or not (first in sys.modules or PathFinder.find_spec(first, [os.getcwd()]) or find_spec(first)):
        raise UsageError(f"-m {name}: no module named {first!r} here or installed (expected one as for python -m)")
    return Program("module", name, tuple(arguments))


def _has_main(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "__main__.py" in archive.namelist()
