"""The options of a watched training, and the form in which they travel to child processes. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeglass_diag.folders import fixed
from edgeglass_diag.profiling.options import ProfileOptions
from edgeglass_diag.rules import Rule, all_rules
from edgeglass_diag.store import next_step


@dataclass(frozen=True)
class WatchOptions:
    """Options that hold for every job of a command.

    Attributes:
        every: distance of recorded windows in optimizer steps; None for the usual one.
        rules: the rules that run.
        stop_on: codes of findings that end the training.
        profile: which steps are traced, None for none.
        report_to: names of the sinks that are fed as the run goes.
        notify: address of the webhook that is told of findings, None for none.
        samples: whether pictures and captions of pairs are kept with their embeddings.
        resume: whether the run in the folder goes on.
    """

    every: int | None
    rules: Sequence[Rule]
    stop_on: tuple[str, ...] = ()
    profile: ProfileOptions | None = None
    report_to: tuple[str, ...] = ()
    notify: str | None = None
    samples: bool = True
    resume: bool = False


@dataclass(frozen=True)
class Extension:
    """What happens in the processes of a run besides watching them.

    Attributes:
        module: name of a module whose ``attach(text)`` is called in each process once torch is imported, before it is
            watched; it returns a function that gives further entries of the result. What it raises ends the program.
        text: its argument.
        header: further content of ``run.json``, in place of what is there otherwise.
    """

    module: str
    text: str
    header: Mapping[str, object]


@dataclass(frozen=True)
class ProcessOptions:
    """Options of a watched program in a form that fits into an environment variable.

    Attributes:
        out: absolute path of the run folder.
        every: distance of recorded windows in optimizer steps; None for the usual one.
        rules: thresholds by code of the rules that run.
        stop_on: codes of findings that end the training.
        announce: print findings to stderr as they are made.
        profile: which steps are traced, None for none.
        extension: what else happens in the processes, None for nothing.
        report_to: names of the sinks that are fed as the run goes.
        steps: optimizer steps after which the training is stopped; None without a limit.
        notify: address of the webhook that is told of findings, None for none; nothing else may show it.
        samples: whether pictures and captions of pairs are kept with their embeddings.
        resume: step at which the run goes on, None for a new run.
    """

    out: str
    every: int | None
    rules: Mapping[str, Mapping[str, float]]
    stop_on: tuple[str, ...] = ()
    announce: bool = True
    profile: ProfileOptions | None = None
    extension: Extension | None = None
    report_to: tuple[str, ...] = ()
    steps: int | None = None
    notify: str | None = None
    samples: bool = True
    resume: int | None = None

    @property
    def header(self) -> Mapping[str, object]:
        """Return what the extension adds to ``run.json``."""
        return {} if self.extension is None else self.extension.header

    @classmethod
    def of(cls, options: WatchOptions, out: Path, *, announce: bool) -> ProcessOptions:
        """Return the options of a program that records into ``out``."""
        rules = {rule.code: rule.thresholds for rule in options.rules}
        return cls(
            str(fixed(out)),
            options.every,
            rules,
            options.stop_on,
            announce,
            options.profile,
            report_to=options.report_to,
            notify=options.notify,
            samples=options.samples,
            resume=next_step(fixed(out)) if options.resume else None,
        )

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
        asked, extending = content["profile"], content["extension"]
        profile = None if asked is None else ProfileOptions(**asked)
        extension = None if extending is None else Extension(**extending)
        lists = {name: tuple(content[name]) for name in ("stop_on", "report_to")}
        return cls(**{**content, **lists, "profile": profile, "extension": extension})
