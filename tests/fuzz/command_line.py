"""The command line in this process, and what is demanded of it: a result, or one line and exit status 2."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main

from tests.fuzz.inputs import Input

LONGEST = 2000
"""Characters of a line that says what is wrong; more of them is nothing that anyone reads."""


class RefusedError(Exception):
    """One line on stderr and exit status 2: what was given is not what is expected."""


class BrokenPromiseError(Exception):
    """An end that is neither a result nor one line with exit status 2."""


def run(folder: Path, given: Input) -> None:
    """Run ``edgeglass-diag`` with the arguments of an input in its folder.

    Raises:
        RefusedError: for wrong use or unreadable input.
        BrokenPromiseError: for several lines, no line, or another exit status.
    """
    from edgeglass_diag.commands import main

    typer.main.get_command = _command_of  # typer makes all commands anew in each call, which takes most of the time
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with _inside(folder, ["edgeglass-diag", *given.arguments]):
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as end:
            status = end.code or 0
    lines = [line for line in err.getvalue().split("\n") if line and not line.startswith("edgeglass-diag: warning: ")]
    if status in (0, 1):
        return
    if status != 2:
        raise BrokenPromiseError(f"exit status {status!r}")
    if len(lines) != 1 or len(lines[0]) > LONGEST or not lines[0].isprintable():
        raise BrokenPromiseError(f"{len(lines)} lines on stderr: {err.getvalue()[:300]!r}")
    raise RefusedError(lines[0])


_command_of = functools.cache(typer.main.get_command)


@contextlib.contextmanager
def _inside(folder: Path, words: list[str]) -> Iterator[None]:
    before, arguments = os.getcwd(), sys.argv
    os.chdir(folder)
    sys.argv = words
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = arguments
