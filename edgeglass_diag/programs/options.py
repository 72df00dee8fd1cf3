"""The options of a watched training, and the form in which they travel to child processes. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeglass_diag.folders import fixed
from edgeglass_diag.profiling.options import ProfileOptions
from edgeglass_diag.rules import Rule, all_rules


@dataclass(frozen=True)
class WatchOptions:
    """Options that hold for every job of a command.

    Attributes:
        every: distance of recorded windows in optimizer steps.
        rules: the rules that run.
        stop_on: codes of findings that end the training.
        profile: which steps are traced, None for none.
    """

    every: int
    rules: Sequence[Rule]
    stop_on: tuple[str, ...] = ()
    profile: ProfileOptions | None = None


@dataclass(frozen=True)
class ProcessOptions:
    """Options of a watched program in a form that fits into an environment variable.

    Attributes:
        out: absolute path of the run folder.
        every: distance of recorded windows in optimizer steps.
        rules: thresholds by code of the rules that run.
        stop_on: codes of findings that end the training.
        announce: print findings to stderr as they are made.
        profile: which steps are traced, None for none.
    """

    out: str
    every: int
    rules: Mapping[str, Mapping[str, float]]
    stop_on: tuple[str, ...] = ()
    announce: bool = True
    profile: ProfileOptions | None = None

    @classmethod
    def of(cls, options: WatchOptions, out: Path, *, announce: bool) -> ProcessOptions:
        """Return the options of a program that records into ``out``."""
        rules = {rule.code: rule.thresholds for rule in options.rules}
        return cls(str(fixed(out)), options.every, rules, options.stop_on, announce, options.profile)

    def configured_rules(self) -> list[Rule]:
        """Return the rules that run, with their thresholds."""
        return [rule(**self.rules[rule.code]) for rule in all_rules() if rule.code in self.rules]

    def as_text(self) -> str:
        """Return the options as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> ProcessOptions:
        """Return the options that ``as_text`` wrote."""
        content = json.loads(text)
        asked = content["profile"]
        profile = None if asked is None else ProfileOptions(**asked)
        return cls(**{**content, "stop_on": tuple(content["stop_on"]), "profile": profile})
