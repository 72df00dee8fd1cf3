"""Print results, as text or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def terminal(*, stderr: bool = False) -> Console:
    """Return the terminal, which never breaks lines by itself."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True)


def print_parts(parts: Iterable[RenderableType], console: Console | None = None) -> None:
    """Print lines and tables, to stdout if no console is given."""
    chosen = terminal() if console is None else console
    for part in parts:
        chosen.print(part, highlight=False)


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """Print a value as JSON to a stream, stdout if none is given."""
    from edgeglass_diag.plain_values import plain

    print(json.dumps(plain(value), indent=1, allow_nan=False), file=stream, flush=True)


@contextmanager
def stdout_kept(wanted: bool) -> Iterator[TextIO]:
    """Send what the program and its children write to stdout to stderr instead, and give the true stdout.

    The file descriptor stays redirected: what runs at exit must not write after the JSON.
    """
    if not wanted:
        yield sys.stdout
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as true_stdout:
        os.dup2(2, 1)
        yield true_stdout


@contextmanager
def output_into(file: Path) -> Iterator[TextIO]:
    """Send what the program and its children write to a new file, and give the true stdout.

    Stdout stays in the file, as what runs at exit must not write after the answer; stderr comes back at the end.

    Raises:
        UsageError: if the file cannot be made, or exists.
    """
    from edgeglass_diag.errors import UsageError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    except OSError as error:
        raise UsageError(f"cannot write the output of the program to {file}: {error.strerror or error}") from error
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as true_stdout:
        stderr = os.dup(2)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        try:
            yield true_stdout
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
