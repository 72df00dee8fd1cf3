"""What an explanation of a program is about: how it was run, and what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeglass_diag.folders import read_header
from edgeglass_diag.programs.targets import Program
from edgeglass_diag.programs.variables import recorded_variables
from edgeglass_diag.records import Finding, Severity, UsageError
from edgeglass_diag.replaying.nominations import headlines
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.sources import sources_of
from edgeglass_diag.store import load
from edgeglass_diag.workers import default_workers

LEAST_STEPS = 60
"""Shortest replay that is chosen, in optimizer steps."""

_RECORDED_WINDOWS = 40
"""Recorded windows of a replay."""

_LAUNCHERS = ("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch")
"""Modules that start the ranks of a training."""


@dataclass(frozen=True)
class Subject:
    """A program as it was run, or is to be run.

    Attributes:
        program: the program with its arguments.
        folder: its working directory, absolute.
        variables: environment variables as a record keeps them.
        run: its record; None where it was not run before.
        findings: what was found in that.
        commit: of git, in which it was run; empty where unknown.
        ranks: processes that trained in that run.
    """

    program: Program
    folder: str
    variables: Mapping[str, str] = field(default_factory=dict)
    run: Path | None = None
    findings: Sequence[Finding] = ()
    commit: str = ""
    ranks: int = 1

    @classmethod
    def of_program(cls, program: Program) -> Subject:
        """Return the subject of a program that would be run here and now."""
        return cls(program, os.getcwd(), recorded_variables())

    @classmethod
    def of_run(cls, folder: Path) -> Subject:
        """Return the subject of a recorded run.

        Raises:
            UsageError: if it cannot be read, is itself a replay, or none of a program that is still there.
        """
        header = read_header(folder)
        if "replay_of" in header:
            raise UsageError(f"{folder} is a replay: explain the run that it replays")
        program = _program(header, folder)
        place = str(header.get("folder") or os.getcwd())
        if not os.path.isdir(place):
            raise UsageError(f"{folder}: its program ran in {place}, which is not there any more")
        if program.kind != "module" and not os.path.exists(os.path.join(place, program.target)):
            raise UsageError(f"{folder}: its program {program.target} is not in {place} any more")
        with load(folder) as run:
            findings, ranks = list(run.findings), max(1, len(run.ranks))
        variables = {str(name): str(value) for name, value in dict(header.get("variables") or {}).items()}
        return cls(program, place, variables, folder, findings, _commit(header), ranks)

    @property
    def name(self) -> str:
        """Name of the run, or of the program without one."""
        return self.program.name if self.run is None else self.run.name

    @property
    def workers(self) -> int:
        """How many replays run side by side; one of several ranks, whose port the others would take."""
        launches = self.program.kind == "module" and self.program.target in _LAUNCHERS
        return 1 if launches or self.ranks > 1 else default_workers()

    @property
    def steps(self) -> int:
        """Steps of a replay in which the fault shows again: half again as many as the worst finding needed."""
        worst = [each for each in self.findings if each.severity is Severity.CRITICAL] or headlines(self.findings)
        first = min((each.step for each in worst), default=0)
        return max(LEAST_STEPS, -(-3 * (first + 1) // 2))

    @property
    def environment(self) -> dict[str, str]:
        """The variables that have to be set so that it runs as it did."""
        return {name: value for name, value in self.variables.items() if os.environ.get(name) != value}

    def plan(self, steps: int, *, workers: int, writable: Sequence[str]) -> Plan:
        """Return the plan that replays it unchanged.

        Processes that run side by side share the cores, unless the program says how many threads it takes.

        Args:
            steps: optimizer steps.
            workers: how many run side by side.
            writable: patterns of files that it may write.
        """
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        environment: dict[str, str | None] = {**self.environment}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            if name not in self.variables and name not in os.environ:
                environment[name] = threads
        kind, target, arguments = self.program.kind, self.program.target, self.program.arguments
        return Plan(
            kind, target, arguments, "", steps, every=max(1, steps // _RECORDED_WINDOWS),
            environment=environment, folder=self.folder, writable=tuple(writable),
            sources=sources_of(self.folder),
        )  # fmt: skip

    def with_arguments(self, arguments: Sequence[str]) -> Subject:
        """Return the same program with another command line."""
        return replace(self, program=replace(self.program, arguments=tuple(arguments)))


def _commit(header: Mapping[str, Any]) -> str:
    return str(dict(header.get("git") or {}).get("commit", ""))


def _program(header: Mapping[str, Any], folder: Path) -> Program:
    facts = header.get("program")
    if not isinstance(facts, Mapping) or facts.get("kind") not in ("script", "module", "folder"):
        raise UsageError(f"{folder}: a run of eg.watch is not known by its command; explain its program: train.py -- …")
    return Program(facts["kind"], str(facts["target"]), tuple(map(str, facts["arguments"])))
