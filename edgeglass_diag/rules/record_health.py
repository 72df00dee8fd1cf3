"""Rules on the record itself: a training of which nothing is recorded must not look like one without faults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edgeglass_diag.records import Finding, RecordState, Severity, Site
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.sites import Coverage, RecorderSite

_SOURCE = "definition: what was not recorded was not judged"


@dataclass(frozen=True)
class RecordRule(Rule):
    """A rule that judges how a record stands, and not what was measured."""

    source: ClassVar[str] = _SOURCE
    page: ClassVar[str] = "coverage"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterable[Finding]:
        """Return what is wrong with the record.

        Args:
            record: how it stands.
            sites: all that were seen.
        """
        raise NotImplementedError

    def found(self, step: int, detail: str, site: str = "", **evidence: object) -> Finding:
        """Return a finding of this rule at a step."""
        message = f"{self.title}: {detail}"
        return Finding(
            self.code, self.name, self.severity, site, max(step, 0), message, evidence, self.fix, sites=(site,)
        )


@dataclass(frozen=True)
class RecordingStopped(RecordRule):
    """Nothing is recorded any more, although the training goes on.

    What happens from here on is neither measured nor judged: the findings are those of the steps before. The record
    goes on by itself as soon as it can be written again.
    """

    code: ClassVar[str] = "EG901"
    name: ClassVar[str] = "recording-stopped"
    title: ClassVar[str] = "Recording stopped, the training goes on unwatched"
    severity: ClassVar[Severity] = Severity.CRITICAL
    fix: ClassVar[str] = "make room on the disk of the run folder, put the folder back, or end what holds its lock"
    faulty: ClassVar[str] = "No space left on device: '/runs/mine'"
    healthy: ClassVar[str] = "df /runs   # room for some 10 KB per recorded window"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return the finding while nothing can be written."""
        if record.stopped:
            taken = f"step {record.taken - 1} is reached" if record.taken > record.stopped_at else "so far"
            detail = f"nothing is in the record from step {record.stopped_at} on ({record.stopped}); {taken}"
            yield self.found(record.stopped_at, detail, reason=record.stopped, windows_recorded=record.recorded)


@dataclass(frozen=True)
class WindowsLost(RecordRule):
    """Recorded windows were lost, and then recording went on.

    The rules have seen these windows where they could be read from the device; the record and its figures have a gap.
    """

    code: ClassVar[str] = "EG902"
    name: ClassVar[str] = "windows-lost"
    title: ClassVar[str] = "The record has a gap"
    severity: ClassVar[Severity] = Severity.WARNING
    fix: ClassVar[str] = "see to the disk of the run folder; with fewer recorded windows (--every) less is written"
    faulty: ClassVar[str] = "database is locked   # for minutes, by a backup of the folder"
    healthy: ClassVar[str] = "copy a run folder after the training, or by SQLite's own backup"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return one finding for all gaps but the one that is still open, of which EG901 tells."""
        gaps = [gap for gap in record.gaps if not record.stopped or gap.first < record.stopped_at]
        if gaps:
            windows = sum(gap.windows for gap in gaps)
            said = "; ".join(f"steps {gap.first} to {gap.last} ({gap.reason})" for gap in gaps[:3])
            more = f"; and {len(gaps) - 3} gaps more" if len(gaps) > 3 else ""
            detail = f"{windows} {'window is' if windows == 1 else 'windows are'} missing: {said}{more}"
            yield self.found(gaps[0].first, detail, windows=windows, gaps=len(gaps))


@dataclass(frozen=True)
class RuleFailed(RecordRule):
    """A rule raised an error and is asked no more: its fault would not be found."""

    code: ClassVar[str] = "EG903"
    name: ClassVar[str] = "rule-failed"
    title: ClassVar[str] = "A rule failed, its fault would not be found"
    severity: ClassVar[Severity] = Severity.WARNING
    fix: ClassVar[str] = "report the error with the run folder; leave the rule out (ignore) until it is mended"
    faulty: ClassVar[str] = "def check(self, history): return history.series(X).values[0]   # IndexError: it is empty"
    healthy: ClassVar[str] = "def check(self, history): ...if not series: return ()"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return one finding for each rule that failed, at the rule's code as its site."""
        for code, error in record.failed_rules.items():
            yield self.found(record.taken - 1, f"{code} is asked no more ({error})", site=code, error=error)


@dataclass(frozen=True)
class RankMissing(RecordRule):
    """Processes of the training have no record: what is wrong on them alone is not seen.

    The number of ranks is that of the process group; it is compared when the training has ended.
    """

    code: ClassVar[str] = "EG904"
    name: ClassVar[str] = "rank-missing"
    title: ClassVar[str] = "Ranks of the training have no record"
    severity: ClassVar[Severity] = Severity.WARNING
    fix: ClassVar[str] = "let all nodes write to one shared run folder, and look for 'is not watched' on their stderr"
    faulty: ClassVar[str] = "edgeglass-diag run --out /local/run train.py   # on each of two nodes"
    healthy: ClassVar[str] = "edgeglass-diag run --out /shared/run train.py"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return one finding for all that are missing."""
        missing = record.missing_ranks
        if missing:
            named = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            word = "rank" if len(missing) == 1 else "ranks"
            yield self.found(0, f"{word} {named}", ranks=list(missing[:32]))


@dataclass(frozen=True)
class RecorderFailed(RecordRule):
    """A part of the recorder failed in this training and measures nothing there.

    The training is not touched by it. Findings that rest on that part cannot be made; the coverage page has all places.
    """

    code: ClassVar[str] = "EG905"
    name: ClassVar[str] = "recorder-failed"
    title: ClassVar[str] = "Parts of the training are not measured, as the recorder failed there"
    severity: ClassVar[Severity] = Severity.INFO
    fix: ClassVar[str] = "report the error with the run folder"
    faulty: ClassVar[str] = "class Odd(torch.Tensor): ...   # whose operations raise where the recorder reads it"
    healthy: ClassVar[str] = "class Usual(nn.Module): ..."

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return one finding for all places; a part that serves the whole model makes it a warning."""
        failed = [site for site in sites if site.coverage is Coverage.RECORDER_FAILED]
        if failed:
            whole = [site for site in failed if isinstance(site, RecorderSite)]
            shown = (whole or failed)[0]
            number = f"{len(failed)} {'place' if len(failed) == 1 else 'places'}"
            detail = f"{number}, as {shown.path or 'the whole model'} ({shown.detail})"
            found = self.found(0, detail, places=len(failed))
            yield replace(found, severity=Severity.WARNING) if whole else found


RECORD_RULES: tuple[type[RecordRule], ...] = (RecordingStopped, WindowsLost, RuleFailed, RankMissing, RecorderFailed)


def record_findings(rules: Iterable[Rule], record: RecordState, sites: Sequence[Site]) -> list[Finding]:
    """Return what the rules about the record find; other rules among them are left out."""
    return [finding for rule in rules if isinstance(rule, RecordRule) for finding in rule.judge(record, sites)]
