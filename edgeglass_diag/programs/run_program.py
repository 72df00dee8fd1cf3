"""Run any training program under observation, as Python itself would run it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.alerts.address import without_secret
from edgeglass_diag.process import StopTraining, ending, environment, error_text, git, say
from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import call_after_import
from edgeglass_diag.programs.environment import propagate_env
from edgeglass_diag.programs.launch import exit_argument, exit_status, launch, print_error
from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.programs.targets import Program
from edgeglass_diag.programs.variables import recorded_variables
from edgeglass_diag.records import Finding
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.rules.record_health import RecordingStopped
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.store import RunWriter

if TYPE_CHECKING:
    from edgeglass_diag.programs.attaching import Attachment
    from edgeglass_diag.store import Run


@dataclass
class Main:
    """The record of the process in which the program runs, which a copy that the program forks leaves alone.

    Attributes:
        options: of the run.
        writer: its store.
        attachment: set once torch is imported.
        process: id of the process.
    """

    options: ProcessOptions
    writer: RunWriter
    attachment: Attachment | None = None
    process: int = field(default_factory=os.getpid)

    def attach(self) -> None:
        """Begin to watch; call it when torch has been imported."""
        from edgeglass_diag.programs.attaching import Attachment

        try:
            self.attachment = Attachment(self.options, self.writer)
        except Exception as error:  # the program comes first: it runs on unwatched
            say("not watched", error)

    def wait_for_training(self) -> None:
        """Wait for a thread that still trains, as Python does where it is none that may be cut off."""
        if self.attachment is not None and self.process == os.getpid():
            thread = self.attachment.training_thread
            if thread is not None and not thread.daemon and not _ends_by_itself(thread):
                thread.join()

    def close(self, error: BaseException | None) -> None:
        """End the record of a program that ended with ``error``."""
        try:
            status, said = ending(error)
            result = {"exit_status": exit_status(error)} | ({} if said is None else {"error": said})
            if self.attachment is not None:
                self.attachment.close(error, result)
            if self.process == os.getpid():
                self.writer.finish(status, result)
        except Exception as problem:
            say("the end of the run could not be noted", problem)


@dataclass(frozen=True)
class Outcome:
    """How a watched program ended.

    Attributes:
        error: the exception that ended it, None without one.
        findings: what was found.
        run: its record, None where that cannot be read.
        problem: why it cannot.
    """

    error: BaseException | None
    findings: list[Finding]
    run: Run | None = None
    problem: str = ""


def run_program(program: Program, options: ProcessOptions) -> Outcome:
    """Run a program under observation; return how it ended and what was found.

    A copy that the program forks and that returns through here ends by SystemExit, as it would unwatched.

    Raises:
        UsageError: if the folder of the run is in use or cannot be written.
    """
    about = {
        **Schedule.of(options.every).facts,
        "environment": environment(),
        "git": git(),
        "command": without_secret(sys.argv, options.notify),
        "folder": _working_directory(),
        "variables": _without(options.notify, recorded_variables()),
    }
    header = {**about, "program": program.facts, **header_of(options.configured_rules()), **options.header}
    writer = RunWriter(Path(options.out), name=Path(options.out).name, header=header, resume=options.resume)
    main = Main(options, writer)
    propagate_env(options)
    call_after_import("torch", main.attach)
    error: BaseException | None = None
    try:
        error = launch(program)
        for part in (partial(_show, error), main.wait_for_training):
            try:
                part()
            except Exception as problem:
                say("the program has ended, and what was to be done after it failed", problem)
    except BaseException as late:  # Ctrl-C while the error is printed or the training goes on
        error = late
    main.close(error)
    if main.process != os.getpid():
        raise SystemExit(exit_argument(error))
    return _outcome(main, error)


def _without(secret: str | None, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables but for those that hold the address of a webhook."""
    return {name: value for name, value in variables.items() if secret is None or secret not in value}


def _working_directory() -> str:
    """Return the working directory; empty where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _ends_by_itself(thread: threading.Thread) -> bool:
    """Return whether Python does not wait for a thread as such: the main thread, and the workers of a pool."""
    pools = sys.modules.get("concurrent.futures.thread")
    return thread is threading.main_thread() or thread in getattr(pools, "_threads_queues", ())


def _show(error: BaseException | None) -> None:
    """Print the error that ended a program, as Python does."""
    if isinstance(error, StopTraining):
        say(str(error))
    elif error is not None and not isinstance(error, SystemExit):
        try:
            print_error(error)
        except Exception as problem:  # of the program's own excepthook, or an error that cannot be printed
            say(f"the error of the program could not be printed ({error_text(problem)}): {error_text(error)}")


def _outcome(main: Main, error: BaseException | None) -> Outcome:
    """Read the record; where it is gone, tell what the process itself has found."""
    from edgeglass_diag.store import load

    try:
        run = load(main.options.out)
        return Outcome(error, run.findings, run)
    except Exception as problem:  # whatever became of the folder, the program ends as it has ended
        found = list(main.attachment.findings) if main.attachment else []
        if not any(finding.code == RecordingStopped.code for finding in found):
            found.append(RecordingStopped().unreadable(error_text(problem)))
        return Outcome(error, found, None, error_text(problem))
