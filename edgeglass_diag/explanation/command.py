"""The words of the command line that ask the question of an explanation again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeglass_diag.explanation.axes import Axis
from edgeglass_diag.programs.targets import Program, Recipe

SEEDS = 3
"""Replays of each change where none were asked for."""

Value = object
"""What an option is given: a word, or several, each behind the option's name; None and no words for none."""


def numbers(*, seeds: int, steps: int | None, budget: float | None, workers: int | None) -> dict[str, Value]:
    """Return the options that all questions have; the seeds where they are not the usual ones."""
    return {
        "--seeds": None if seeds == SEEDS else seeds,
        "--steps": steps,
        "--budget": None if budget is None else f"{budget:.12g}",
        "--parallel": workers,
    }


def map_options(axes: Iterable[Axis]) -> dict[str, Value]:
    """Return the options that ask for a map."""
    return {"--map": [axis.text for axis in axes]}


def command(subject: Path | Program | Recipe, options: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the words behind ``edgeglass-diag explain``; the folder of the replays is not among them.

    Args:
        subject: folder of a run, a program or a recipe.
        options: by name.

    >>> command(Path("runs/x"), {"--map": ["--lr=1,2"], "--seeds": 2, "--steps": None})
    ('runs/x', '--map=--lr=1,2', '--seeds', '2')
    >>> command(Program("module", "pkg.train", ("--lr", "1")), {})
    ('-m', 'pkg.train', '--', '--lr', '1')
    >>> command(Path("-x"), {})
    ('./-x',)
    """
    words = [word for name, value in options.items() for each in _each(value) for word in _option(name, each)]
    if isinstance(subject, Path):
        return (_place(str(subject)), *words)
    if isinstance(subject, Recipe):
        settings = [word for setting in subject.settings for word in _option("--set", setting)]
        return (_place(subject.target), *words, *settings)
    arguments = ("--", *subject.arguments) if subject.arguments else ()
    if subject.kind == "module":
        return (*words, "-m", subject.target, *arguments)
    return (_place(subject.target), *words, *arguments)


def _place(target: str) -> str:
    """A name that begins with a dash is no option once a folder stands before it."""
    return f"./{target}" if target.startswith("-") else target


def _each(value: Value) -> Sequence[str]:
    if value is None:
        return ()
    return [str(each) for each in value] if isinstance(value, list | tuple) else (str(value),)


def _option(name: str, value: str) -> tuple[str, ...]:
    return (f"{name}={value}",) if value.startswith("-") else (name, value)
