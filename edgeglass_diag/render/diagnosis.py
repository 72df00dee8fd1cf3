"""A diagnosis as lines and as plain values: made here, where it is shown, and read by no program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeglass_diag.diagnosis.next_command import shell
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Finding
from edgeglass_diag.render.findings import evidence_texts, mark_text, sites_text
from edgeglass_diag.verdict import share_recorded

if TYPE_CHECKING:
    from edgeglass_diag.diagnosis.diagnose import Diagnosis
    from edgeglass_diag.diagnosis.unseen import Unseen

_EVIDENCE, _PROVED, _GUESSED, _UNSEEN = 8, 8, 8, 6
"""Most entries of each list; the rest is counted."""


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """Yield the verdict, the headline with its evidence, what is proved, guessed and unseen, and what to do next."""
    yield found.verdict.text
    yield f"run: {found.folder} ({found.status}, {_steps(found)}; {_counts(found)})"
    if found.error:
        yield f"ended by: {found.error.splitlines()[0]}"
    if found.problem:
        yield found.problem
    if found.headline is not None:
        yield from _headline(found.headline, found)
    yield from _proved(found)
    yield from _guessed(found)
    yield from _unseen(found)
    yield ""
    yield f"next: {found.next.why}"
    yield f"  {found.next.command}"


def _steps(found: Diagnosis) -> str:
    return f"{found.taken} steps" + (f", {found.recorded} recorded" if found.recorded < found.taken else "")


def _counts(found: Diagnosis) -> str:
    return ", ".join(f"{count} {severity}" for severity, count in found.counts.items()) or "no findings"


def _headline(finding: Finding, found: Diagnosis) -> Iterator[str]:
    yield ""
    early = ", early" if finding.is_early else ""
    yield f"headline: {finding.severity.upper()} {finding.code} {finding.name} at step {finding.step}{early}"
    if finding.message not in found.verdict.model:
        yield f"  {finding.message}"
    yield f"  where: {sites_text(finding)}"
    measured = evidence_texts(finding)
    for name, value in measured[:_EVIDENCE]:
        yield f"  {name}: {value}"
    yield from _rest(len(measured) - _EVIDENCE, shell("findings", found.folder, "--json"))
    if follows := found.follows_from(finding):
        yield f"  brings: {', '.join(follows)}"
    yield f"  fix: {finding.fix}"


def _proved(found: Diagnosis) -> Iterator[str]:
    kept = found.explanation
    if kept is None and not found.proved:
        return
    yield ""
    yield "proved by replays:"
    if kept is not None:
        yield f"  {kept.verdict}"
    yield from _some([f"{_name(each)} {mark_text(each)}" for each in found.proved], _PROVED, found)


def _guessed(found: Diagnosis) -> Iterator[str]:
    if not found.guessed:
        return
    yield ""
    yield "guessed from what was measured, not proved:"
    yield from _some([_guess(each, found) for each in found.guessed], _GUESSED, found)


def _guess(finding: Finding, found: Diagnosis) -> str:
    said = f"{finding.severity} {_name(finding)}"
    if finding != found.headline:
        said += f": {finding.message}"
    follows = found.follows_from(finding)
    return said + (f" [brings {', '.join(follows)}]" if follows and finding != found.headline else "")


def _unseen(found: Diagnosis) -> Iterator[str]:
    said = [each.text for each in found.unseen[:_UNSEEN]]
    if left := sum(each.count for each in found.unseen[_UNSEEN:]):
        said.append(f"{left} sites more, for other reasons")
    if found.recorded < found.taken:
        said.append(f"steps: said of what was found{share_recorded(found.recorded, found.taken)}")
    if codes := found.idle_rules:
        said.append(f"rules that did not judge this run: {_codes(codes)}")
    if said:
        yield ""
        yield "not looked at:"
        yield from (f"  {each}" for each in said)


def _codes(codes: Sequence[str]) -> str:
    return ", ".join(codes[:8]) + (f" and {len(codes) - 8} more" if len(codes) > 8 else "")


def _some(said: Sequence[str], most: int, found: Diagnosis) -> Iterator[str]:
    """Yield some entries, and how many more there are and how to see them."""
    yield from (f"  {each}" for each in said[:most])
    yield from _rest(len(said) - most, shell("findings", found.folder))


def _rest(missing: int, command: str) -> Iterator[str]:
    if missing > 0:
        yield f"  ... {missing} more: {command}"


def _name(finding: Finding) -> str:
    return f"{finding.code} {finding.name}" + (f" ({sites_text(finding)})" if finding.site else "")


def diagnosis_values(found: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as plain values; lists are cut, and ``rest`` has the commands that show all of them."""
    kept = found.explanation
    return {
        "verdict": found.verdict.model,
        "tone": found.verdict.tone,
        "record": found.verdict.record,
        "run": str(found.folder),
        "status": str(found.status),
        "steps": found.taken,
        "recorded": found.recorded,
        "error": found.error.splitlines()[0] if found.error else None,
        "problem": found.problem or None,
        "findings": {str(severity): count for severity, count in found.counts.items()},
        "headline": None if found.headline is None else _values(found.headline, found),
        "explained": None if kept is None else {"verdict": kept.verdict, "steps": kept.steps},
        "proved": _cut([_short(each) for each in found.proved], _PROVED),
        "guessed": _cut([_short(each) for each in found.guessed], _GUESSED),
        "not_looked_at": {
            "sites": _cut([_unseen_values(each) for each in found.unseen], _UNSEEN),
            "steps": max(0, found.taken - found.recorded),
            "rules": list(found.idle_rules),
        },
        "next": {"why": found.next.why, "command": found.next.command},
        "rest": {"findings": shell("findings", found.folder, "--json")},
    }


def _cut(entries: list[dict[str, Any]], most: int) -> dict[str, Any]:
    return {"count": len(entries), "shown": entries[:most]}


def _unseen_values(each: Unseen) -> dict[str, Any]:
    return {"kind": each.kind, "coverage": str(each.coverage), "count": each.count, "first": each.first}


def _short(finding: Finding) -> dict[str, Any]:
    mark = None if finding.mark is None else str(finding.mark)
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": str(finding.severity),
        "site": finding.site,
        "step": finding.step,
        "message": finding.message,
        "mark": mark,
        "by": finding.mark_by or None,
    }


def _values(finding: Finding, found: Diagnosis) -> dict[str, Any]:
    proved = finding.mark in (Mark.CONFIRMED, Mark.REFUTED)
    place = None if finding.place is None else str(finding.place)
    return {
        **_short(finding),
        "proved": proved,
        "early_until": finding.early_until,
        "sites": list(finding.sites),
        "evidence": dict(finding.evidence),
        "place": place,
        "since": finding.since,
        "brings": list(found.follows_from(finding)),
        "fix": finding.fix,
    }
