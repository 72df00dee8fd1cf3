"""A case is a program with an operator in it, or a program as it is: its healthy twin."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path

from edgeglass_models.exam.operators import OPERATORS
from edgeglass_models.exam.operators.operator import Operator
from edgeglass_models.exam.split import Part, part_of_case

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
HEALTHY = "healthy"
PER_PROGRAM = 15
"""Operators that a program is tried with, drawn by the hash of both names: the whole stays under an hour."""


@dataclass(frozen=True)
class Case:
    """A program and what is wrong with it.

    Attributes:
        program: its name.
        operator: what is wrong; None for the healthy twin.
        source: its text, with the mistake.
        twin: the text of the healthy program, as it is formatted when a mistake is put in.
    """

    program: str
    operator: Operator | None
    source: str
    twin: str

    @property
    def name(self) -> str:
        """``program:operator``."""
        return f"{self.program}:{HEALTHY if self.operator is None else self.operator.name}"

    @property
    def part(self) -> Part:
        """Whether rules may be developed on it."""
        return part_of_case(self.program, "" if self.operator is None else self.operator.name)

    @cached_property
    def changed_lines(self) -> frozenset[int]:
        """Numbers of the lines of ``source`` that the twin does not have, from 1."""
        known = set(self.twin.splitlines())
        return frozenset(n for n, line in enumerate(self.source.splitlines(), start=1) if line not in known)

    def key(self, seed: int) -> str:
        """Return a hash of all that decides how it trains."""
        digest = hashlib.sha256(f"{self.source}\0{seed}\0{_shared_by(self.source)}".encode())
        if self.operator is not None and self.operator.around is not None:
            digest.update(inspect.getsource(self.operator.around).encode())
        return digest.hexdigest()[:16]


@cache
def _helpers() -> dict[str, str]:
    """Return the texts of the modules that programs share, by name."""
    return {file.stem: file.read_text() for file in sorted(HERE.glob("toy_*.py"))}


def _shared_by(source: str) -> str:
    """Return the texts of the shared modules that a program names."""
    return "".join(text for name, text in _helpers().items() if name in source)


def programs() -> dict[str, str]:
    """Return the sources of all programs by name."""
    files = sorted(file for file in PROGRAMS.glob("*.py") if not file.name.startswith("_"))
    return {file.stem: file.read_text() for file in files}


def healthy(program: str, source: str) -> Case:
    """Return the healthy twin, which runs as its author wrote it but for comments and line breaks."""
    plain = ast.unparse(ast.parse(source))
    return Case(program, None, plain, plain)


def cases_of(program: str, source: str, operators: Iterable[Operator], *, most: int = PER_PROGRAM) -> list[Case]:
    """Return the cases of one program: those of ``most`` operators that fit it, drawn by a hash."""
    plain = healthy(program, source).source
    made = []
    for operator in sorted(operators, key=lambda one: _rank(program, one.name)):
        patched = operator.applied_to(plain)
        if patched is not None:
            made.append(Case(program, operator, patched, plain))
        if len(made) == most:
            break
    return made


def _rank(program: str, operator: str) -> str:
    return hashlib.sha256(f"{program}:{operator}".encode()).hexdigest()


def chosen(only: Sequence[str], part: str) -> tuple[list[Case], list[Case]]:
    """Return the healthy twins and the cases that are wanted.

    Args:
        only: names ``program:operator`` and patterns of them; all cases where empty. A case that is named in full is
            tried although it was not drawn.
        part: ``study``, ``exam`` or ``all``.
    """
    twins, cases = [], []
    for program, source in programs().items():
        drawn = cases_of(program, source, OPERATORS)
        drawn += [
            case for case in cases_of(program, source, _named(program, only), most=len(only)) if case not in drawn
        ]
        wanted = [case for case in drawn if _matches(case, only) and part in ("all", case.part)]
        twin = healthy(program, source)
        if wanted or (_matches(twin, only) and part in ("all", twin.part)):
            twins.append(twin)
        cases += wanted
    return twins, cases


def _named(program: str, only: Sequence[str]) -> list[Operator]:
    return [operator for operator in OPERATORS if f"{program}:{operator.name}" in only]


def _matches(case: Case, only: Sequence[str]) -> bool:
    return not only or any(fnmatchcase(case.name, pattern) for pattern in only)
