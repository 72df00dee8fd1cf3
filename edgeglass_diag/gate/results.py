"""Findings as they leave this tool: each with the line that a reader is shown, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
import linecache
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeglass_diag.records import Finding, SourceLine
from edgeglass_diag.site_paths import kin

_SCHEME = 1
"""Version of what a fingerprint is made of."""

CHANGED, CHANGED_NAME = "EG059", "init-changed"
"""Code and name of a statistic of the initialisation that differs from its certificate, as the guard tells it."""


@dataclass(frozen=True)
class Judged:
    """One thing that was judged, and its findings.

    Attributes:
        findings: of it.
        name: tells it apart where a command judges several, as the job of a recipe; empty where it judges one.
        file: what is shown where a finding has no line of its own: the program or the log; None where there is none.
        folder: where relative names of source files begin; the working directory if None.
    """

    findings: Sequence[Finding]
    name: str = ""
    file: Path | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Result:
    """A finding with the line that it is shown at.

    Attributes:
        code: of the rule.
        name: of the rule.
        severity: info, warning or critical.
        site: where in the model, empty for the whole of it.
        message: the fault, in words.
        fix: what to do.
        file: of the line, empty where nothing stands for the finding.
        line: from 1; 0 where a file as a whole is meant.
        fingerprint: the same in each run in which the finding is made.
        subject: ``Judged.name``.
        because_of: code of the finding that it follows from.
    """

    code: str
    name: str
    severity: str
    site: str
    message: str
    fix: str = ""
    file: str = ""
    line: int = 0
    fingerprint: str = ""
    subject: str = ""
    because_of: str | None = None


def results(judged: Iterable[Judged]) -> list[Result]:
    """Return the findings of all that was judged, in their order."""
    return [result(finding, one) for one in judged for finding in one.findings]


def result(finding: Finding, of: Judged) -> Result:
    """Return one finding with its line and fingerprint."""
    place = None if finding.place is None else _located(finding.place, of.folder)
    if place is not None:
        file, line = place.file, place.line
    else:
        file, line = "" if of.file is None else str(of.file), 0
    return Result(
        finding.code, finding.name, str(finding.severity), finding.site, finding.message, finding.fix, file, line,
        fingerprint(finding.code, finding.site, "" if place is None else _text(place), subject=of.name),
        of.name, finding.because_of,
    )  # fmt: skip


def fingerprint(code: str, site: str, text: str, *, subject: str = "") -> str:
    """Return what tells a finding from others, whatever the step, the numbers and the number of the line are.

    Of a site counts its kind: findings that differ in their layer only are one, and which layer shows it first may be
    another in the next run.

    Args:
        code: of the rule.
        site: path of the site.
        text: of the line of source that brought it, without the blanks around it; empty where it is unknown.
        subject: ``Judged.name``.

    Example:
        >>> fingerprint("EG203", "blocks.3.attn", "") == fingerprint("EG203", "blocks.0.attn", "")
        True
        >>> fingerprint("EG001", "latents", "") == fingerprint("EG001", "latents", "", subject="perceiver")
        False
    """
    parts = json.dumps([_SCHEME, code, kin(site), text, subject])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _located(place: SourceLine, folder: Path | None) -> SourceLine | None:
    """Return a place whose file is absolute; None where no file has the name, as of code that was typed in."""
    if place.file.startswith("<"):
        return None
    return SourceLine(str((folder or Path.cwd()) / place.file), place.line)


def _text(place: SourceLine) -> str:
    linecache.checkcache(place.file)
    return linecache.getline(place.file, place.line).strip()
