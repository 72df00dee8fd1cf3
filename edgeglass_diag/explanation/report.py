"""What an explanation found: which settings make a training fail, with the replays that show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suspect:
    """One setting, and what it does alone.

    Attributes:
        setting: its name.
        failing: its value in the training that fails.
        healthy: its value in the healthy one.
        cured: replays of the failing training that learn with the healthy value, as ``3/3``; None if none was made.
        broken: replays of the healthy training that fail with the failing value; None if none was made.
        together: the settings that it is a cause with, itself among them; empty for one that is no cause.
    """

    setting: str
    failing: object
    healthy: object
    cured: str | None
    broken: str | None
    together: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return the row of ``--json``."""
        row = {"setting": self.setting, "ill": self.failing, "healthy": self.healthy}
        row |= {"cured": self.cured, "made_ill": self.broken}
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
    """

    label: str
    seed: int
    loss: float | None
    accuracy: float | None
    failing: bool
    steps: int
    findings: tuple[str, ...]
    out: str

    def as_dict(self) -> dict[str, object]:
        """Return the entry of ``--json``."""
        values: dict[str, object] = {"label": self.label, "seed": self.seed, "loss": self.loss}
        values |= {"accuracy": self.accuracy, "ill": self.failing, "steps": self.steps}
        return values | {"findings": list(self.findings), "out": self.out}


@dataclass(frozen=True)
class ExplainReport:
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

    def as_dict(self) -> dict[str, object]:
        """Return what ``explain --json`` prints."""
        return {
            "verdict": self.verdict,
            "causes": [each.as_dict() for each in self.causes],
            "not_causes": [each.as_dict() for each in self.not_causes],
            "cures": [each.as_dict() for each in self.cures],
            "makes_ill": [each.as_dict() for each in self.breaks],
            "border": self.threshold,
            "steps": self.steps,
            "trials": [each.as_dict() for each in self.trials],
            "finished": self.finished,
            "seconds": self.seconds,
        }
