"""What an operator is: one mistake of a user, put into any program that it fits."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

Patch = Callable[[ast.Module], ast.Module | None]
"""Takes the tree of a program, which it may change, and returns the patched one; None where it does not fit."""

Around = Callable[[], AbstractContextManager[None]]
"""Returns what is entered around the run of a program and changes functions of torch while it lasts."""

Fits = Callable[[ast.Module], bool]
"""Returns whether a program has what an operator changes from outside."""


@dataclass(frozen=True)
class Operator:
    """A mistake.

    Attributes:
        name: words with dashes.
        family: what it is about.
        does: the mistake in a practitioner's words, one sentence.
        source: where it was reported or listed.
        where: what a good diagnosis points at, any of: ``optimizer``, ``loss``, ``data``, ``image side``,
            ``text side``, ``model``, or the path of a module or parameter.
        patch: changes the program's source; None where ``around`` acts.
        around: changes torch from outside.
        fits: whether what ``around`` changes is in a program.
    """

    name: str
    family: str
    does: str
    source: str
    where: tuple[str, ...]
    patch: Patch | None = None
    around: Around | None = None
    fits: Fits | None = None

    def applied_to(self, source: str) -> str | None:
        """Return the source of a program with the mistake in it; None where it does not fit.

        An operator that acts from outside leaves the source as it is.
        """
        if self.patch is None:
            return source if self.fits is not None and self.fits(ast.parse(source)) else None
        plain = ast.unparse(ast.parse(source))
        tree = self.patch(ast.parse(source))
        if tree is None:
            return None
        patched = ast.unparse(ast.fix_missing_locations(tree))
        return None if patched == plain else patched


@dataclass
class Family:
    """Operators about one thing; its methods are the decorators that make them of functions.

    An operator is called like its function, and says what its docstring says.
    """

    name: str
    operators: list[Operator] = field(default_factory=list)

    def patch(self, *, source: str, where: tuple[str, ...]) -> Callable[[Patch], Patch]:
        """Make an operator of a function that changes the source of a program."""

        def make(function: Patch) -> Patch:
            self.operators.append(self._made(function, source, where, patch=function))
            return function

        return make

    def around(self, *, source: str, where: tuple[str, ...], fits: Fits) -> Callable[[Around], Around]:
        """Make an operator of a context manager that changes functions of torch while a program runs."""

        def make(function: Around) -> Around:
            self.operators.append(self._made(function, source, where, around=function, fits=fits))
            return function

        return make

    def _made(
        self,
        function: Patch | Around,
        source: str,
        where: tuple[str, ...],
        *,
        patch: Patch | None = None,
        around: Around | None = None,
        fits: Fits | None = None,
    ) -> Operator:
        name = function.__name__.replace("_", "-")
        does = (function.__doc__ or "").strip().splitlines()[0]
        return Operator(name, self.name, does, source, where, patch, around, fits)
