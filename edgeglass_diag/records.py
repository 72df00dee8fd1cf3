"""The facts that travel between recorder, rules, store and screen: frozen, plain, free of torch.

A *site* is a module path (for attention and losses with ``#k`` where it acts more than once in one forward
pass). A *signal* is a slash path such as ``attention/entropy``. A *window* is the span from one optimizer
step to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for critical."""
        return list(Severity).index(self)


class UsageError(ValueError):
    """Wrong use or unreadable input: one line that names what was expected, what came, and where."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured signal of one site in one window; ``values`` has one entry per component (head)."""

    step: int
    site: str
    signal: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """A place that was seen: a module, an attention, a loss, an embedding side or a parameter.

    ``order`` is the order of first execution; ``parents`` are the sites whose outputs flow into it; ``label``
    tells what is known beside the path (the side of an embedding, the class of a module, at an inspection the
    parameter that an attention's learned queries come from). ``status`` is ``observed`` or the reason why it cannot be.
    """

    path: str
    kind: str
    order: int
    parents: tuple[str, ...] = ()
    label: str = ""
    status: str = "observed"


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
class Finding:
    """A rule's verdict. ``because_of`` is the code of the finding it follows from, or None."""

    code: str
    name: str
    severity: Severity
    site: str
    step: int
    message: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    fix: str = ""
    because_of: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Findings with the same code and site are the same finding seen again."""
        return (self.code, self.site)
