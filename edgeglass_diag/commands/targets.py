"""The target of a verb on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.programs.targets import Program, Recipe, Target


class ProgramCommand(TyperCommand):
    """A command whose user may have left out the ``--`` before the options of a script."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and explain what to do about an unknown option.

        Raises:
            UsageError: for an option that the command does not have.
        """
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ != "NoSuchOption":  # typer brings its own copy of click, whose place changes
                raise
            hint = f"the arguments of a script go behind --: edgeglass-diag {self.name} train.py -- --lr 2e-3"
            raise UsageError(f"{self.name}: {' '.join(str(error).split())} ({hint})") from None


def to_run(verb: str, words: Sequence[str], module: str | None, settings: Sequence[str]) -> Program | Recipe:
    """Return the program or recipe that a verb is to run.

    Raises:
        UsageError: if the words name something else, or it does not take its arguments or settings.
    """
    from edgeglass_diag.programs.targets import Program, Recipe, resolve, wrong_kind

    target = resolve(words, module, settings)
    if isinstance(target, Program | Recipe):
        return target
    raise wrong_kind(verb, "a recipe, a YAML file or a program", target)


def run_folder(out: Path | None, target: Program | Recipe) -> Path:
    """Return the folder of the run: ``out`` if given, else a new one below ``runs``."""
    from edgeglass_diag.folders import default_folder

    return out if out is not None else default_folder(target.name, Path("runs"))


def unknown_recipe(error: ValueError, target: Target) -> UsageError:
    """Return the error for a recipe that cannot be planned, with a hint if its name may be meant as a program."""
    from edgeglass_diag.extras import MissingExtraError
    from edgeglass_diag.programs.targets import Recipe

    if isinstance(error, MissingExtraError):
        return error
    is_name = isinstance(target, Recipe) and not Path(target.target).suffix
    return UsageError(f"{error}{'; a script ends in .py, a module goes behind -m' if is_name else ''}")
