"""Replays in copies of a process that has imported torch: what they show is the same, in a third of the time."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeglass_diag.explanation import of_programs
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.programs.targets import Program
from edgeglass_diag.replaying import child, runner
from edgeglass_diag.replaying.mirror import SUFFIX, of_scratch
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.surroundings import environment_of
from tests.helpers.command_server import IMPORTS, CommandServer, Copy

SERVER = CommandServer((*IMPORTS, "edgeglass_diag.replaying.child", "edgeglass_diag.replaying.in_process"))


def replay(file: str) -> None:
    """Do what ``guardian`` and the process that it starts do, in this copy."""
    plan = Plan.parse(Path(file).read_text())
    temporary = os.path.realpath(tempfile.mkdtemp(prefix="replay-"))
    try:
        mirror = of_scratch(plan.scratch)
        environment = environment_of(plan, mirror, temporary, os.environ)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        mirror.open(plan.folder, head_start=True)
        os.chdir(plan.scratch)
        child.main(file)
    finally:
        with suppress(OSError):  # it may not, where it is kept from writing elsewhere
            shutil.rmtree(temporary)


class Guardian:
    """A copy, as ``Replays`` handles the process of a replay."""

    def __init__(self, copy: Copy, log: Path) -> None:
        self._copy, self._log = copy, log
        self.stdin: Any = self

    def close(self) -> None:
        """End the copy if it has not ended."""
        if self.poll() is None:
            self._copy.send_signal(9)
            self._copy.wait()

    def wait(self) -> None:
        """Keep what it printed in one file."""
        self._log.write_text("".join((self._copy.place / name).read_text() for name in ("stdout", "stderr")))

    def poll(self) -> int | None:
        """Return its exit status; None if it runs."""
        return self._copy.wait() if self._copy._has_ended() else None


class ForkedReplays(runner.Replays):
    """Replays in copies of one process."""

    def _begin(self, plan: Plan) -> Any:
        name = runner.name_of(plan)
        run, place = self._out / name, self._out / f"{name}{SUFFIX}"
        scratch = place / "scratch"
        scratch.mkdir(parents=True)
        plan = replace(plan, out=str(run), scratch=str(scratch))
        (place / "plan.json").write_text(plan.as_text())
        copy = SERVER.start(replay, str(place / "plan.json"), place=place)
        return runner._Running(plan, place, Guardian(copy, place / "output.log"), time.monotonic())


def ask(asked: Sequence[str], folder: Path, *, out: Path, seeds: int, parallel: int) -> dict[str, Any]:
    """Return the JSON of ``explain`` for words of its command line, given in a folder."""
    os.chdir(folder)
    match asked:
        case [run]:
            subject, more = Subject.of_run(Path(run)), {}
        case [run, "--against", healthy]:
            subject, more = Subject.of_run(Path(run)), {"against": Subject.of_run(Path(healthy))}
        case ["--against-rev", revision, script, "--", *arguments]:
            subject, more = Subject.of_program(Program("script", script, tuple(arguments))), {"revision": revision}
    of_programs.Replays = ForkedReplays
    question = of_programs.ProgramQuestion(subject, out, seeds=seeds, workers=parallel, **more)
    return of_programs.explain_program(question).as_dict()
