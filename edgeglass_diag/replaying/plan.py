"""What a replay is to do: which program, for how many steps, and what is changed of it. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.programs.targets import Kind


@dataclass(frozen=True)
class Plan:
    """A replay of a program.

    Attributes:
        kind: ``script``, ``module`` or ``folder``, as of ``programs.targets.Program``.
        target: the program.
        arguments: its command line.
        out: absolute path of the run folder in which the replay is recorded.
        steps: optimizer steps after which it is stopped.
        seed: what is added to each seed that the program sets; a program that sets none gets it as its seed.
        every: distance of recorded windows in optimizer steps.
        interventions: what is changed from outside; none for a control.
        environment: variables that are set, or removed where None.
        folder: working directory, absolute.
        scratch: folder in which alone the replay may write, absolute.
        writable: patterns of further files that it may write.
        title: words for what is changed, where it is not the interventions alone.
        absent: absolute paths that are not there for the program, as before the run that is replayed.
        sources: digest of the Python files in ``folder``, where that is the user's own.
        state: what the files in ``folder`` are, where that is a scratch folder; empty for the user's own.
    """

    kind: Kind
    target: str
    arguments: tuple[str, ...]
    out: str
    steps: int
    seed: int = 0
    every: int = 1
    interventions: tuple[Intervention, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    folder: str = ""
    scratch: str = ""
    writable: Sequence[str] = ()
    absent: Sequence[str] = ()
    title: str = ""
    sources: str = ""
    state: str = ""

    @property
    def label(self) -> str:
        """Return the words for what is changed."""
        return self.title or " and ".join(each.label for each in self.interventions) or "unchanged"

    def as_text(self) -> str:
        """Return the plan as JSON, in which it travels to the process of the replay."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Return the plan that ``as_text`` wrote."""
        content: dict[str, Any] = json.loads(text)
        made = tuple(Intervention(**each) for each in content["interventions"])
        lists = {name: tuple(content[name]) for name in ("arguments", "writable", "absent")}
        return cls(**{**content, **lists, "interventions": made})
