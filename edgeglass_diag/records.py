"""The facts that travel between recorder, rules, store and screen: frozen, plain, free of torch.

A *site* is a place that was seen (``edgeglass_diag.sites``). A *signal* is a slash path such as ``attention/entropy``
(``edgeglass_diag.signals``). A *window* is the span from one optimizer step to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from edgeglass_diag.errors import UsageError as UsageError
from edgeglass_diag.marks import Mark
from edgeglass_diag.shown import Shown
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import Site as Site
from edgeglass_diag.sites import Task as Task

if TYPE_CHECKING:
    from edgeglass_diag.notebooks.document import Document


class Severity(StrEnum):
    """How bad a finding is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for critical."""
        return list(Severity).index(self)


class RunStatus(StrEnum):
    """How a run stands: it goes on, came to its own end, was ended from outside or on a finding, or by an error."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Standing(StrEnum):
    """Where a watch stands, in words that follow on its subject."""

    MADE = "was made"
    OPEN = "is open"
    ENDED = "has ended"


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured signal of one site in one window; ``values`` has one entry per component (head)."""

    step: int
    site: str
    signal: Signal
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a program's source."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


LOADING = "load_state_dict"
"""The ``op`` of a write that takes a value from a state dictionary."""


@dataclass(frozen=True, slots=True)
class ParameterWrite:
    """One write to a parameter before the first optimizer step.

    ``default`` marks the initialisation a torch layer gives itself; ``random`` a draw; ``partial`` a write to
    a part of the parameter.
    """

    op: str
    file: str
    line: int
    std: float
    random: bool = False
    default: bool = False
    partial: bool = False

    @property
    def is_loaded(self) -> bool:
        """Whether the value came from a state dictionary."""
        return self.op == LOADING

    @property
    def place(self) -> SourceLine:
        """The line that wrote."""
        return SourceLine(self.file, self.line)


@dataclass(frozen=True, slots=True)
class ParameterOrigin:
    """Where a parameter's initial value comes from."""

    name: str
    shape: tuple[int, ...]
    std: float
    writes: tuple[ParameterWrite, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """What was recorded between two optimizer steps; ``step`` counts from 0."""

    step: int
    readings: tuple[Reading, ...]
    sites: tuple[Site, ...] = ()
    origins: tuple[ParameterOrigin, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding(Shown):
    """A rule's verdict.

    Attributes:
        code: of the rule.
        name: of the rule.
        severity: how bad it is.
        site: where; of several sites with the same fault the first.
        step: at which it was found.
        message: the fault, its numbers and its place, in words.
        evidence: what was measured, by name; for people, no program reads it.
        fix: what to do.
        because_of: code of the finding that it follows from, None where it stands for itself.
        sites: all sites with this fault, which differ in their layer, call or prefix only; ``site`` is the first.
        since: the step from which on it was so; None where it is that of the finding or unknown.
        learned_since: the step from which on the model learned although the rule says that it cannot.
        place: the line of source that brought it, None where unknown.
        focus: path of the site to look at first, empty where it is ``site``.
        early_until: where nothing is learned yet, and the model may only be slow to begin: the step from which on the
            verdict stands. Until then it is a warning at most, and nothing is stopped on it. None where it stands.
        mark: what an explanation of the run has shown of it; None where the run was not explained.
        mark_by: the change that has shown it, with its count.
    """

    code: str
    name: str
    severity: Severity
    site: str
    step: int
    message: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    fix: str = ""
    because_of: str | None = None
    sites: tuple[str, ...] = ()
    since: int | None = None
    learned_since: int | None = None
    place: SourceLine | None = None
    focus: str = ""
    early_until: int | None = None
    mark: Mark | None = None
    mark_by: str = ""

    @property
    def is_early(self) -> bool:
        """Whether the verdict does not stand yet."""
        return self.early_until is not None

    @property
    def key(self) -> tuple[str, str]:
        """Findings with the same code and site are the same finding seen again."""
        return (self.code, self.site)

    @property
    def onset(self) -> int:
        """The earliest step at which the fault is known to have been there."""
        return self.step if self.since is None else min(self.since, self.step)

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_findings import finding_document

        return finding_document(self)


class Findings(list[Finding], Shown):
    """A list of findings, which a notebook shows each under its cause."""

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_findings import findings_document

        return findings_document(self)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a signal is healthy by a rule's thresholds; None for a side without bound."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ConfiguredRule:
    """A rule as it ran, kept in ``run.json``: whatever draws or words a bound takes it from here.

    Attributes:
        code: of the rule.
        name: of the rule.
        title: the fault in a practitioner's words, as "Learning rate too high".
        thresholds: their values by name.
        page: page of the dashboard that shows it.
        signals: paths of the signals that it judges, the most telling first.
        bounds: by the path of a signal.
    """

    code: str
    name: str
    title: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    page: str = "overview"
    signals: tuple[str, ...] = ()
    bounds: Mapping[str, Bounds] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a record goes on after its program had ended or was killed, and was started again.

    Attributes:
        step: first step behind it, by the count of the record: no lower than the number of steps before.
        time: when, in seconds since 1970.
        ended: whether the program before had come to its own end, so that it may have been meant to train further.
        command: command line of the program that went on.
    """

    step: int
    time: float = 0.0
    ended: bool = False
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Windows that should have been recorded and are not in the store.

    Attributes:
        first: step of the first of them.
        last: step of the last.
        windows: their number.
        reason: why, as the message of an error; for people, no program reads it.
    """

    first: int
    last: int
    windows: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordState:
    """What is known of a record itself: how much of the training it holds, and what was lost.

    Attributes:
        taken: optimizer steps that the training has taken.
        recorded: windows in the store.
        stopped: why nothing is written now, although the training goes on or went on; empty where that is not so.
        stopped_at: step of the first window since that is not written, -1 where ``stopped`` is empty.
        gaps: windows that were lost before recording went on, in rising order.
        failed_rules: what ended each rule that failed, by its code.
        missing_ranks: ranks of the training that have no record.
    """

    taken: int = 0
    recorded: int = 0
    stopped: str = ""
    stopped_at: int = -1
    gaps: tuple[Gap, ...] = ()
    failed_rules: Mapping[str, str] = field(default_factory=dict)
    missing_ranks: tuple[int, ...] = ()
