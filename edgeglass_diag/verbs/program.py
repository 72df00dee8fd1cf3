"""The verb ``run`` for any training program: runs it as Python would, watched, and says what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeglass_diag.process import StopTraining, ending, environment, git
from edgeglass_diag.programs.bootstrap.sitecustomize import call_after_import
from edgeglass_diag.programs.children import Options, invite
from edgeglass_diag.programs.launch import launch, show
from edgeglass_diag.programs.target import Program
from edgeglass_diag.store import RunWriter

if TYPE_CHECKING:
    from edgeglass_diag.programs.attaching import Attachment
    from edgeglass_diag.store import Run


@dataclass
class Main:
    """The record of the process in which the program runs; ``attachment`` is there once torch is imported."""

    options: Options
    writer: RunWriter
    attachment: Attachment | None = None
    process: int = field(default_factory=os.getpid)

    @property
    def is_copy(self) -> bool:
        """Whether this is a copy that the program forked."""
        return os.getpid() != self.process

    def attach(self) -> None:
        """Begin to watch; called when torch has been imported."""
        from edgeglass_diag.programs.attaching import Attachment

        try:
            self.attachment = Attachment(self.options, self.writer)
        except Exception as error:  # the program comes first: it runs on unwatched
            print(f"edgeglass-diag: not watched: {type(error).__name__}: {error}", file=sys.stderr)

    def close(self, error: BaseException | None) -> None:
        """End the record of a program that ended so."""
        status, said = ending(error)
        result = {"exit_status": exit_status(error)} | ({} if said is None else {"error": said})
        if self.attachment is not None:
            self.attachment.close(error, result)
        if not self.is_copy:
            self.writer.finish(status, result)


def run_program(program: Program, options: Options) -> tuple[Run, BaseException | None]:
    """Run a program under observation; gives its record and what it raised.

    A copy that the program forks and that returns through here ends as it would without us: by SystemExit.

    Raises:
        UsageError: when the folder of the run is in use or cannot be written.
    """
    header = {"every": options.every, "environment": environment(), "git": git(), "command": list(sys.argv)}
    writer = RunWriter(Path(options.out), name=Path(options.out).name, header={**header, "program": program.facts})
    main = Main(options, writer)
    invite(options)
    call_after_import("torch", main.attach)
    error = launch(program)
    if isinstance(error, StopTraining):
        print(f"edgeglass-diag: {error}", file=sys.stderr)
    elif error is not None and not isinstance(error, SystemExit):
        show(error)
    main.close(error)
    if main.is_copy:
        raise SystemExit(leaving(error))
    from edgeglass_diag.store import load

    return load(options.out), error


def exit_status(error: BaseException | None) -> int:
    """The exit status that the shell sees of a program which ended so."""
    status = leaving(error)
    return status if isinstance(status, int) else 0 if status is None else 1


def leaving(error: BaseException | None) -> object:
    """What to give to ``sys.exit`` so that this process ends as the program did."""
    if isinstance(error, SystemExit):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 0 if error is None or isinstance(error, StopTraining) else 1


@contextmanager
def stdout_kept(wanted: bool) -> Iterator[TextIO]:
    """Send what the program and its children write to stdout to stderr instead, and give the true stdout.

    This is done to the file descriptor, and for good: what runs at exit must not write behind our JSON.
    """
    if not wanted:
        yield sys.stdout
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as true_stdout:
        os.dup2(2, 1)
        yield true_stdout
