"""What ``explain_programs`` explains: faults in plain scripts in three forms, and programs of others. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from examples.guilty_history import git
from examples.plain_faults.fault import INNOCENT_CHANGES, Fault, line_of, make_fault_history, text_of
from examples.plain_faults.faults import FAULTS


@dataclass(frozen=True)
class Case:
    """One explanation.

    Attributes:
        title: of the fault.
        form: ``arguments``, ``lines`` or ``findings``.
        program: words of the command line that name the program.
        ill: arguments of the run that is explained.
        healthy: arguments of the run without the fault and without the innocent differences.
        prepare: puts the program into a new folder.
        cause: option or ``$VARIABLE`` that is the fault, of the form ``arguments``.
        environment: variables of the run that is explained.
        right: patterns of the interventions that take the fault away.
        helps: patterns of the interventions that make up for it.
        fault: the fault in a plain script; None for a program of others.
        surroundings: variables of every run.
    """

    title: str
    form: str
    program: tuple[str, ...]
    ill: tuple[str, ...]
    healthy: tuple[str, ...]
    prepare: Callable[[Path], None]
    cause: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    right: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    fault: Fault | None = None
    surroundings: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.title.replace(':', '-')}--{self.form}"


def plain_cases() -> Iterator[Case]:
    """Return the faults in plain scripts, each by its difference and by its findings alone."""
    for fault in FAULTS:
        yield _plain(fault, "arguments" if fault.change is None else "lines")
        yield _plain(fault, "findings")


def _plain(fault: Fault, form: str) -> Case:
    return Case(
        fault.title, form, (fault.file,), fault.ill_words, fault.always, lambda folder: _prepare(fault, folder),
        cause=fault.cause, environment=fault.environment, right=fault.right, helps=fault.helps, fault=fault,
    )  # fmt: skip


def _prepare(fault: Fault, folder: Path) -> None:
    if fault.change is not None:
        make_fault_history(folder, fault)
        return
    folder.mkdir(parents=True)
    (folder / fault.file).write_text(text_of(fault.script))


def lines_at_present(fault: Fault, folder: Path) -> tuple[int, list[int]]:
    """Return the line of the fault in a history's last commit, and those of the innocent changes."""
    assert fault.change is not None
    text = (folder / fault.file).read_text()
    return line_of(text, fault.change), [line_of(text, change) for change in INNOCENT_CHANGES[fault.script]]


def guilty_commit(folder: Path) -> str:
    """Return the hash of the commit that has the fault."""
    return git(folder, "rev-parse", "HEAD~1")
