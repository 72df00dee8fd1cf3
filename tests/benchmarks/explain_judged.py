"""Is what ``explain`` named the fault, and is anything named that is innocent? No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from edgeglass_diag.intervention import Intervention
from tests.benchmarks.explain_cases import Case, guilty_commit, lines_at_present

PLAN = "{}.replay/plan.json"
"""Plan of a replay, beside its run."""


@dataclass(frozen=True)
class _Named:
    """A cause that was named, whether it is the fault, and whether it is innocent: neither where it makes up for it."""

    words: str
    is_right: bool
    is_innocent: bool


@dataclass(frozen=True)
class Judged:
    """An explanation, judged.

    Attributes:
        title: of the fault.
        form: how it was asked.
        named: the causes as they were named.
        right: whether the fault is among them; where nothing can take it away from outside, whether none is named.
        innocent: those of them that are innocent.
        seconds: that ``explain`` took.
        processor: seconds of a processor that it and its replays took: twice as many as it takes on two idle cores.
        failed: what it said if it gave no answer.
        verdict: its sentences.
    """

    title: str
    form: str
    named: tuple[str, ...]
    right: bool
    innocent: tuple[str, ...]
    seconds: float
    processor: float = 0.0
    failed: str = ""
    verdict: str = ""

    @property
    def row(self) -> str:
        """Return the row of the table."""
        named = "; ".join(self.named) or self.failed or "nothing"
        right, innocent = "yes" if self.right else "no", ", ".join(self.innocent) or "-"
        words = (self.title, self.form, named, right, innocent, f"{self.seconds:.0f}", f"{self.processor:.0f}")
        return f"| {' | '.join(word.replace('|', '/') for word in words)} |"

    def as_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def parse(cls, text: str) -> Judged:
        """Return what ``as_text`` wrote."""
        content: dict[str, Any] = json.loads(text)
        return cls(**{**content, **{name: tuple(content[name]) for name in ("named", "innocent")}})


Cause = Mapping[str, Any]
"""One of the causes in the JSON of ``explain``."""


def judge(case: Case, answer: Mapping[str, Any], folder: Path, seconds: float) -> Judged:
    """Return what is to be said of the JSON of ``explain`` about a program in a folder."""
    judges = {"arguments": _of_arguments, "lines": _of_lines, "findings": _of_findings}
    found = judges[case.form](case, answer, folder)
    named = tuple(dict.fromkeys(each.words for each in found))
    innocent = tuple(dict.fromkeys(each.words for each in found if each.is_innocent))
    is_beyond_reach = case.form == "findings" and not case.right
    right = not innocent if is_beyond_reach else any(each.is_right for each in found)
    return Judged(case.title, case.form, named, right, innocent, seconds, verdict=answer["verdict"])


def _of_arguments(case: Case, answer: Mapping[str, Any], folder: Path) -> list[_Named]:
    names = [row["setting"] for row in answer["causes"]]
    return [_Named(name, name == case.cause, name != case.cause) for name in names]


def _of_lines(case: Case, answer: Mapping[str, Any], folder: Path) -> list[_Named]:
    """The guilty commit alone is not the cause: its lines are."""
    assert case.fault is not None
    guilty, (fault, innocent) = guilty_commit(folder), lines_at_present(case.fault, folder)
    found = []
    for row in answer["causes"]:
        name = str(row["setting"])
        if row["kind"] == "commit":
            found.append(_Named(name, False, not guilty.startswith(str(row["ill"]))))
        else:
            line = int(re.findall(r":(\d+)", name)[0])
            is_fault = all(abs(line - fault) < abs(line - other) for other in innocent)
            found.append(_Named(name, is_fault, not is_fault))
    return found


def _of_findings(case: Case, answer: Mapping[str, Any], folder: Path) -> list[_Named]:
    labels = _labels(answer)
    found = []
    for row in answer["causes"]:
        names = [labels.get(words, words) for words in row.get("together") or [row["setting"]]]
        is_right = any(_matches(name, case.right) for name in names)
        is_fair = is_right or any(_matches(name, case.helps) for name in names)
        found.append(_Named(" and ".join(names), is_right, not is_fair))
    return found


def _labels(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of the interventions by the words of the answer."""
    labels = {}
    for trial in answer["trials"]:
        file = Path(PLAN.format(trial["out"]))
        made = json.loads(file.read_text())["interventions"] if file.is_file() else []
        if len(made) == 1:
            labels[trial["label"]] = Intervention(**made[0]).label
    return labels


def _matches(label: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(label, pattern) for pattern in patterns)
