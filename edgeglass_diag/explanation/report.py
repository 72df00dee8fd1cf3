"""What an explanation found: what makes a training fail or cures it, with the replays that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeglass_diag.marks import FindingMark
from edgeglass_diag.shown import Shown

if TYPE_CHECKING:
    from edgeglass_diag.explained.phase_map import KeptMap
    from edgeglass_diag.notebooks.document import Document


@dataclass(frozen=True)
class Suspect:
    """One setting, argument, intervention, commit or hunk of lines, and what it does alone.

    Attributes:
        setting: its name, or the words for what is changed.
        failing: its value in the training that fails.
        healthy: its value in the healthy one.
        cured: replays of the failing training that learn with the healthy value, as ``3/3``; None if none was made.
        broken: replays of the healthy training that fail with the failing value; None if none was made.
        together: the settings that it is a cause with, itself among them; empty for one that is no cause.
        kind: ``setting``, ``argument``, ``variable``, ``intervention``, ``commit`` or ``hunk``.
        where: ``file:line`` of the program at which it is set; None where unknown.
    """

    setting: str
    failing: object
    healthy: object
    cured: str | None
    broken: str | None
    together: tuple[str, ...] = ()
    kind: str = "setting"
    where: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the row of ``--json``."""
        row = {"kind": self.kind, "setting": self.setting, "ill": self.failing, "healthy": self.healthy}
        row |= {"where": self.where, "cured": self.cured, "made_ill": self.broken}
        return row | ({"together": list(self.together)} if self.together else {})


@dataclass(frozen=True)
class ChangeSet:
    """Settings that together cure, or make a healthy training fail; ``count`` as ``3/3``."""

    settings: tuple[str, ...]
    count: str | None

    def as_dict(self) -> dict[str, object]:
        """Return the entry of ``--json``."""
        return {"settings": list(self.settings), "count": self.count}


@dataclass(frozen=True)
class Replay:
    """One replay.

    Attributes:
        label: what was changed.
        seed: its seed.
        loss: at its end, relative to chance: -0.1 is 10 % below; None if not finite.
        accuracy: in-batch accuracy at its end; None if not finite.
        failing: whether it counts as failing.
        steps: optimizer steps that were taken.
        findings: codes of its findings.
        out: its run folder.
        kind: of what was changed, or ``control`` or ``placebo``.
        ending: how it ended: ``stopped`` after its steps, ``finished``, ``refused``, ``crashed`` or ``timed out``.
    """

    label: str
    seed: int
    loss: float | None
    accuracy: float | None
    failing: bool
    steps: int
    findings: tuple[str, ...]
    out: str
    kind: str = "setting"
    ending: str = "finished"

    def as_dict(self) -> dict[str, object]:
        """Return the entry of ``--json``."""
        values: dict[str, object] = {"label": self.label, "kind": self.kind, "seed": self.seed, "loss": self.loss}
        values |= {"accuracy": self.accuracy, "ill": self.failing, "steps": self.steps}
        return values | {"findings": list(self.findings), "out": self.out, "ending": self.ending}


@dataclass(frozen=True)
class ExplainReport(Shown):
    """What the replays show.

    Attributes:
        verdict: the result in sentences.
        causes: settings that make the training fail, alone or together.
        not_causes: settings that were tried and do not.
        cures: the smallest sets of changes that cure.
        breaks: the smallest sets of changes that make the healthy training fail.
        threshold: loss relative to chance above which a replay counts as failing.
        steps: length of a replay in optimizer steps.
        trials: every replay.
        finished: whether all was tried within the budget.
        seconds: duration.
        marks: what the replays say of each headline finding of the run.
        run: folder of the run that is explained, None where it is none.
        guard: what kept the replays from writing elsewhere; empty where they ran in this process.
        noise: by how much a replay differs from an equal one, relative to chance; None where it was not measured.
        left_out: paths that the replays began without, as the run had made them; relative to its working directory.
        phase_map: how the training goes over a grid of settings, where that was asked.
        again: the words behind ``edgeglass-diag explain`` that ask it again, without ``--out``; none for a function.
    """

    verdict: str
    causes: tuple[Suspect, ...]
    not_causes: tuple[Suspect, ...]
    cures: tuple[ChangeSet, ...]
    breaks: tuple[ChangeSet, ...]
    threshold: float
    steps: int
    trials: tuple[Replay, ...]
    finished: bool
    seconds: float
    marks: tuple[FindingMark, ...] = ()
    run: str | None = None
    guard: str = ""
    noise: float | None = None
    left_out: tuple[str, ...] = ()
    phase_map: KeptMap | None = None
    again: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return what ``explain --json`` prints; ``map`` is there where one was asked for."""
        told: dict[str, object] = {
            "verdict": self.verdict,
            "run": self.run,
            "causes": [each.as_dict() for each in self.causes],
            "not_causes": [each.as_dict() for each in self.not_causes],
            "cures": [each.as_dict() for each in self.cures],
            "makes_ill": [each.as_dict() for each in self.breaks],
            "findings": [_plain(each) for each in self.marks],
            "guard": self.guard,
            "noise": self.noise,
            "left_out": list(self.left_out),
            "border": self.threshold,
            "steps": self.steps,
            "trials": [each.as_dict() for each in self.trials],
            "finished": self.finished,
            "seconds": self.seconds,
            "again": list(self.again),
        }
        return told if self.phase_map is None else told | {"map": self.phase_map.model_dump(mode="json")}

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_explanation import explanation_document

        return explanation_document(self)


def _plain(mark: FindingMark) -> dict[str, object]:
    return {"code": mark.code, "site": mark.site, "mark": str(mark.mark), "by": mark.by}
