"""What was found out before: trials and records by the content of the case, judgements by that of the rules."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.plain_values import plain
from edgeglass_diag.process import error_text
from edgeglass_diag.records import Finding, Severity, SourceLine
from edgeglass_models.exam import product, trial
from edgeglass_models.exam.baseline import alarms
from edgeglass_models.exam.cases import Case
from edgeglass_models.exam.located import Place, places_of
from edgeglass_models.exam.trial import Trial


@dataclass(frozen=True)
class Judged:
    """A record as the rules and the baseline judge it.

    Attributes:
        findings: that stand at the end.
        withdrawn: codes that were critical before.
        failures: of rules, by code.
        baseline: names of the baseline's alarms, each with its step.
        places: of the findings' sites, by the path of the site.
    """

    findings: tuple[Finding, ...]
    withdrawn: tuple[str, ...]
    failures: dict[str, str]
    baseline: dict[str, int]
    places: dict[str, list[Place]]


class Cache:
    """A folder with a place for each case and seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def trial(self, case: Case, seed: int) -> Trial | None:
        """Return how a training went, None where it has not been tried."""
        file = self._file(case, seed, "trial.json")
        return Trial(**_read(file)) if file.exists() else None

    def has_record(self, case: Case, seed: int) -> bool:
        """Return whether there is a record of a training that today's recorder has made."""
        found = self.trial(case, seed)
        return found is not None and (found.record == product.recorder_text() or bool(found.crashed))

    def try_out(self, case: Case, seed: int) -> None:
        """Train a case in this process, which ends thereafter, and keep what comes of it."""
        scratch = self._file(case, seed, f"scratch-{os.getpid()}")
        scratch.mkdir(parents=True)
        try:
            done = trial.run(case, seed, scratch, self._file(case, seed, "windows"))
        except Exception as error:
            done = Trial(None, error_text(error))
        finally:
            trial.clean(scratch)
        self.note(case, seed, done)

    def note(self, case: Case, seed: int, done: Trial) -> None:
        """Keep how a training went."""
        _write(self._file(case, seed, "trial.json"), done.as_dict())

    def judged(self, case: Case, seed: int) -> Judged | None:
        """Return the judgement by today's rules, None where the record has not been judged by them."""
        file = self._judgement(case, seed)
        return _restored(_read(file)) if file.exists() else None

    def judge(self, case: Case, seed: int) -> None:
        """Let today's rules and the baseline judge a record, and keep what they say."""
        windows = product.unpack(self._file(case, seed, "windows").read_bytes())
        found = product.judge(windows)
        wanted = {path for one in found.findings for path in (one.site, *one.sites, one.focus)}
        content = {
            "findings": [dataclasses.asdict(one) for one in found.findings],
            "withdrawn": list(found.withdrawn),
            "failures": found.failures,
            "baseline": alarms(windows),
            "places": {path: places_of(path, windows) for path in sorted(wanted)},
        }
        for old in self._judgement(case, seed).parent.glob(f"{case.key(seed)}.judged-*.json"):
            old.unlink()
        _write(self._judgement(case, seed), plain(content))

    def _judgement(self, case: Case, seed: int) -> Path:
        return self._file(case, seed, f"judged-{product.rules_text()}-{product.recorder_text()}.json")

    def _file(self, case: Case, seed: int, kind: str) -> Path:
        return self.folder / case.program / case.name.partition(":")[2] / f"{case.key(seed)}.{kind}"


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def _write(file: Path, content: object) -> None:
    """Write a file as a whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial_file = file.with_name(f"{file.name}.{os.getpid()}")
    partial_file.write_text(json.dumps(content))
    partial_file.replace(file)


def _restored(content: dict[str, Any]) -> Judged:
    findings = tuple(map(_finding, content["findings"]))
    return Judged(
        findings, tuple(content["withdrawn"]), content["failures"], content["baseline"],
        {path: [Place(one) for one in places] for path, places in content["places"].items()},
    )  # fmt: skip


def _finding(content: dict[str, Any]) -> Finding:
    place = None if content["place"] is None else SourceLine(**content["place"])
    typed: dict[str, Any] = {
        "severity": Severity(content["severity"]),
        "sites": tuple(content["sites"]),
        "place": place,
    }
    return Finding(**{**content, **typed})
