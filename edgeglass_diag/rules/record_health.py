"""Rules on the record itself: a training of which nothing is recorded must not look like one without faults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from edgeglass_diag.records import Finding, RecordState, Severity, Site
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.sites import Coverage, RecorderSite

_SOURCE = "definition: what was not recorded was not judged"


@dataclass(frozen=True)
class RecordRule(Rule):
    """A rule that judges how a record stands, and not what was measured."""

    source = _SOURCE
    page = "coverage"
    stages = (Stage.RECORD,)

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

    Why: what happens from here on is not in the record, and its figures and findings are those of the steps before.
    Recording goes on by itself as soon as the folder can be written again; windows are kept for that meanwhile.

    Formula: the last attempt to write windows failed, or what was written cannot be read when the program has ended.
    """

    code = "EG901"
    name = "recording-stopped"
    title = "Recording stopped, the training goes on unwatched"
    severity = Severity.CRITICAL
    fix = "make room on the disk of the run folder, put the folder back, or end what holds its lock"
    faulty = "No space left on device: '/runs/mine'"
    healthy = "df /runs   # room for some 10 KB per recorded window"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return the finding while nothing can be written."""
        if record.stopped:
            taken = f"step {record.taken - 1} is reached" if record.taken > record.stopped_at else "so far"
            detail = f"nothing is in the record from step {record.stopped_at} on ({record.stopped}); {taken}"
            yield self.found(record.stopped_at, detail, reason=record.stopped, windows_recorded=record.recorded)

    def unreadable(self, problem: str) -> Finding:
        """Return the finding of a record that was written, as far as is known, and cannot be read at the end.

        Args:
            problem: why it cannot.
        """
        found = self.found(0, "", reason=problem)
        return replace(found, message=f"Record lost, nothing of it can be read: {problem}")


@dataclass(frozen=True)
class WindowsLost(RecordRule):
    """Recorded windows were lost, and then recording went on.

    Why: figures and later comparisons have a gap there. The rules have judged these windows in memory, but for those
    that could not be read from the device or be taken by the writing thread.

    Formula: at least one window that was due is not in the store: the store could not be written for longer than 256
    windows, or the writing thread made no progress for 10 seconds.
    """

    code = "EG902"
    name = "windows-lost"
    title = "The record has a gap"
    severity = Severity.WARNING
    fix = "see to the disk of the run folder; with fewer recorded windows (--every) less is written"
    faulty = "database is locked   # for minutes, by a backup of the folder"
    healthy = "copy a run folder after the training, or by SQLite's own backup"

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
    """A rule raised an error and is asked no more: its fault would not be found.

    Why: that nothing is said of a fault means nothing where nothing looks for it.

    Formula: the rule raised an exception in this run.
    """

    code = "EG903"
    name = "rule-failed"
    title = "A rule failed, its fault would not be found"
    severity = Severity.WARNING
    fix = "report the error with the run folder; leave the rule out (ignore) until it is mended"
    faulty = "def check(self, history): return history.series(X).values[0]   # IndexError: it is empty"
    healthy = "def check(self, history): ...if not series: return ()"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return one finding for each rule that failed, at the rule's code as its site."""
        for code, error in record.failed_rules.items():
            yield self.found(record.taken - 1, f"{code} is asked no more ({error})", site=code, error=error)


@dataclass(frozen=True)
class RankMissing(RecordRule):
    """Processes of the training have no record: what is wrong on them alone is not seen.

    Why: ranks hold other data and, where parameters are sharded, other weights.

    Formula: a rank below the size of the process group has no record when the training has ended.
    """

    code = "EG904"
    name = "rank-missing"
    title = "Ranks of the training have no record"
    severity = Severity.WARNING
    fix = "let all nodes write to one shared run folder, and look for 'is not watched' on their stderr"
    faulty = "edgeglass-diag run --out /local/run train.py   # on each of two nodes"
    healthy = "edgeglass-diag run --out /shared/run train.py"

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

    Why: findings that rest on that part cannot be made. The training is not touched by it, and the coverage page has
    all places.

    Formula: a site whose coverage is ``recorder_failed``; a warning where it is a part that serves the whole model.
    """

    code = "EG905"
    name = "recorder-failed"
    title = "Parts of the training are not measured, as the recorder failed there"
    severity = Severity.INFO
    fix = "report the error with the run folder"
    faulty = "class Odd(torch.Tensor): ...   # whose operations raise where the recorder reads it"
    healthy = "class Usual(nn.Module): ..."

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


@dataclass(frozen=True)
class PartNotRecorded(RecordRule):
    """A part of the training is left out of the record: another thread, windows too large, steps of no optimizer.

    Why: what is wrong there alone is not found. A watch records one thread, and of a window 256 forward passes with
    gradients, as a loop that never steps would fill the memory. Windows end with steps of ``torch.optim.Optimizer``,
    or where none steps with writes to weights that a backward pass gave gradients; where neither is seen, as with
    gradients of ``torch.autograd.grad`` alone, there is but the first.

    Formula: the recorder noted that it left out steps of another thread, or a window, or that no step was seen.
    """

    code = "EG906"
    name = "part-not-recorded"
    title = "A part of the training is not recorded"
    severity = Severity.INFO
    fix = "Watch each of the threads in a process of its own; step, or drop the graph, within 256 forward passes."
    faulty = "Thread(target=train_generator).start(); train_critic()   # two trainings in one process"
    healthy = "train()   # one thread trains, others load data"

    def judge(self, record: RecordState, sites: Sequence[Site]) -> Iterator[Finding]:
        """Return one finding for each part that is left out."""
        for site in sites:
            if isinstance(site, RecorderSite) and site.coverage in _LEFT_OUT:
                found = self.found(0, _LEFT_OUT[site.coverage], site=site.path)
                yield replace(found, fix=_NO_OPTIMIZER) if site.coverage is Coverage.NO_OPTIMIZER else found


_NO_OPTIMIZER = (
    "Look whether the weights are updated at all; where new tensors take their place, or torch.autograd.grad gives "
    "their gradients, step with an optimizer of torch."
)
_LEFT_OUT = {
    Coverage.NO_OPTIMIZER: "gradients of a loss were computed, but no optimizer stepped, and no weight was written to "
    "after a backward pass",
    Coverage.OTHER_THREAD_TRAINS: "another thread trains as well, and its steps are left out",
    Coverage.TOO_MANY_FORWARDS: "windows of more than 256 forward passes are left out",
    Coverage.TOO_DEEP: "windows in which more than 64 modules run inside each other are left out",
}

RECORD_RULES: tuple[type[RecordRule], ...] = (
    RecordingStopped,
    WindowsLost,
    RuleFailed,
    RankMissing,
    RecorderFailed,
    PartNotRecorded,
)


def record_findings(rules: Iterable[Rule], record: RecordState, sites: Sequence[Site]) -> list[Finding]:
    """Return what the rules about the record find; other rules among them are left out."""
    return [finding for rule in rules if isinstance(rule, RecordRule) for finding in rule.judge(record, sites)]
