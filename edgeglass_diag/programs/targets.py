"""Resolve what a command line names: a program, a recipe, a function that builds a model, or a run folder."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import is_file, is_folder

Kind = Literal["script", "module", "folder"]
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


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
        """Return the name of its run."""
        return self.target if self.kind == "module" else Path(self.target).resolve().stem

    @property
    def facts(self) -> dict[str, object]:
        """Return its entry in ``run.json``."""
        return {"kind": self.kind, "target": self.target, "arguments": list(self.arguments)}


@dataclass(frozen=True)
class Recipe:
    """A recipe by its name or its YAML file, with settings ``section.key=value`` that replace its own."""

    target: str
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of its run."""
        return Path(self.target).stem


@dataclass(frozen=True)
class BuildFunction:
    """A function ``package.module:build`` that returns a model, with settings ``name=value``."""

    target: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds the record of a run."""

    folder: Path


Target = Program | Recipe | BuildFunction | RunFolder


def resolve(words: Sequence[str], module: str | None = None, settings: Sequence[str] = ()) -> Target:
    """Return what the words of a command line name; nothing of it is imported or run.

    A name that is neither a program nor a function nor a run folder is that of a recipe, which need not exist.

    Args:
        words: the target and its arguments; with ``module`` its arguments alone.
        module: name of a module as behind ``python -m``.
        settings: of a recipe or a function.

    Raises:
        UsageError: if there is no such script or module, if a program is given settings, or anything else arguments.
    """
    if module is not None:
        found: Program | None = find_module(module, words)
    else:
        found = find_program(words[0], words[1:])
    if found is not None:
        if settings:
            kinds = "recipes and functions"
            raise UsageError(f"--set {settings[0]}: is for {kinds}; the arguments of a program go behind --")
        return found
    target, *arguments = words
    is_function = _FUNCTION.fullmatch(target) is not None
    if arguments:
        what = repr(target) if is_function else f"the recipe {target!r}"
        raise UsageError(f"{what} takes no arguments, got {arguments[0]!r}; --set is for settings")
    if is_function:
        return BuildFunction(target, tuple(settings))
    if is_file(Path(target) / "run.json"):
        if settings:
            raise UsageError(f"--set {settings[0]}: is for a recipe, and {target} is a run")
        return RunFolder(Path(target))
    return Recipe(target, tuple(settings))


def wrong_kind(verb: str, expected: str, target: Target) -> UsageError:
    """Return the error for a target of a kind that a verb does not take."""
    match target:
        case Program():
            got = f"the program {target.target}"
        case Recipe():
            got = f"the recipe {target.target!r}"
        case BuildFunction():
            got = f"the function {target.target}"
        case RunFolder():
            got = f"the run {target.folder}"
    return UsageError(f"{verb}: expected {expected}, got {got}")


def find_program(target: str, arguments: Sequence[str]) -> Program | None:
    """Return the program at a path; None if the target is something else, such as the name of a recipe.

    Raises:
        UsageError: if there is no such script.
    """
    path = Path(target)
    if target.endswith(".py") and not is_folder(path):
        if not is_file(path):
            raise UsageError(f"no such script: {target}")
        return Program("script", target, tuple(arguments))
    if is_file(path / "__main__.py") or (is_file(path) and _has_main(path)):
        return Program("folder", target, tuple(arguments))
    return None


def find_module(name: str, arguments: Sequence[str]) -> Program:
    """Return the program behind ``-m``; only its first name is looked up, nothing is imported.

    Raises:
        UsageError: if the first name is no module.
    """
    first = name.split(".")[0]
    if not first or not (first in sys.modules or PathFinder.find_spec(first, [os.getcwd()]) or find_spec(first)):
        raise UsageError(f"-m {name}: no module named {first!r} here or installed (expected one as for python -m)")
    return Program("module", name, tuple(arguments))


def source_of(target: Target, folder: Path | None = None) -> Path | None:
    """Return the source file that stands for a target: a script, a module or a YAML file; None where it has none.

    Nothing is imported.

    Args:
        target: what was named.
        folder: in which modules are looked for before those that are installed; the working directory if None.
    """
    match target:
        case Program(kind="script"):
            return Path(target.target)
        case Program(kind="folder"):
            main = Path(target.target) / "__main__.py"
            return main if is_file((folder or Path()) / main) else Path(target.target)
        case Program():
            return _module_file(target.target, folder or Path.cwd())
        case BuildFunction():
            return _module_file(target.target.partition(":")[0], folder or Path.cwd())
        case Recipe() if is_file(Path(target.target)):
            return Path(target.target)
    return None


def _module_file(name: str, folder: Path) -> Path | None:
    first, *rest = name.split(".")
    spec = PathFinder.find_spec(first, [str(folder), *sys.path])
    if spec is None:
        return None
    places = [Path(place).joinpath(*rest) for place in spec.submodule_search_locations or ()]
    files = [*(place.with_suffix(".py") for place in places if rest), *(place / "__main__.py" for place in places)]
    files += [*(place / "__init__.py" for place in places), *([Path(spec.origin)] if spec.origin and not rest else ())]
    return next((file for file in files if is_file(file)), None)


def _has_main(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "__main__.py" in archive.namelist()
