"""The public function ``diagnose``: what is wrong with a training, in one bounded answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.bounded import bounded, bounded_lines
from edgeglass_diag.diagnosis.next_command import NextCommand, needs_action, next_command
from edgeglass_diag.diagnosis.unseen import Unseen, idle_rules, unseen_sites
from edgeglass_diag.explained.record import KeptExplanation, read_explanation
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Finding, RunStatus, Severity, UsageError
from edgeglass_diag.run_verdict import run_verdict, stopped_as_asked
from edgeglass_diag.shown import Shown
from edgeglass_diag.store import Run, find_runs, load
from edgeglass_diag.verdict import Verdict, nest

if TYPE_CHECKING:
    from edgeglass_diag.notebooks.document import Document


@dataclass(frozen=True)
class Diagnosis(Shown):
    """What is said of a run in one answer.

    Attributes:
        folder: of the run.
        status: how the run stands.
        taken: optimizer steps of the training.
        recorded: those of which there is a window.
        verdict: does it learn, and if not, what is wrong. A finding that replays have refuted is no reason for it.
        headline: the finding to look at first: a proved one, else the worst that stands for itself. None without one.
        findings: all of the run, as ``run.findings``.
        explanation: what the newest replays have shown; None where the run was not explained.
        unseen: sites that nobody looked at.
        idle_rules: codes of rules that did not judge this run.
        error: what ended the program, empty where no error did.
        problem: why the marks or the explanation cannot be read; empty where they can or there are none.
        next: what to try next.
    """

    folder: Path
    status: RunStatus
    taken: int
    recorded: int
    verdict: Verdict
    headline: Finding | None
    findings: tuple[Finding, ...]
    explanation: KeptExplanation | None
    unseen: tuple[Unseen, ...]
    idle_rules: tuple[str, ...]
    error: str
    problem: str
    next: NextCommand

    @property
    def proved(self) -> tuple[Finding, ...]:
        """Findings that replays have confirmed or refuted, the confirmed ones first."""
        confirmed = [each for each in self.findings if each.mark is Mark.CONFIRMED]
        return (*confirmed, *(each for each in self.findings if each.mark is Mark.REFUTED))

    @property
    def guessed(self) -> tuple[Finding, ...]:
        """Findings that stand for themselves, are more than a fact, and that no replay has confirmed or refuted."""
        own = (branch.finding for branch in nest([each for each in self.findings if each.mark is not Mark.REFUTED]))
        return tuple(each for each in own if needs_action(each) and each.mark is not Mark.CONFIRMED)

    def follows_from(self, finding: Finding) -> tuple[str, ...]:
        """Return the codes of findings that follow from this one, each once."""
        return tuple(dict.fromkeys(each.code for each in self.findings if each.because_of == finding.code))

    @property
    def counts(self) -> Mapping[Severity, int]:
        """Findings by severity, the worst first."""
        counted = Counter(each.severity for each in self.findings)
        return {severity: counted[severity] for severity in reversed(Severity) if counted[severity]}

    def as_text(self) -> str:
        """Return what ``diagnose`` prints: at most 60 lines of at most 300 characters."""
        from edgeglass_diag.render.diagnosis import diagnosis_lines

        return "\n".join(bounded_lines(diagnosis_lines(self)))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``diagnose --json`` prints, below 20 kB."""
        from edgeglass_diag.render.diagnosis import diagnosis_values

        values: dict[str, Any] = bounded(diagnosis_values(self))
        return values

    def __str__(self) -> str:
        return self.as_text()

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_diagnosis import diagnosis_document

        return diagnosis_document(self)


def diagnose(run: str | Path | Run) -> Diagnosis:
    """Diagnose a recorded run: what is wrong, what of it is proved and what guessed, and what to try next.

    The training may still be running.

    Args:
        run: the run, or its folder.

    Raises:
        UsageError: if there is no run, or its record cannot be read. A program is trained and diagnosed by the command
            ``edgeglass-diag diagnose train.py`` alone.

    Example:
        >>> import tempfile
        >>> import torch, edgeglass_diag as eg
        >>> folder, model = tempfile.mkdtemp(), torch.nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> with eg.watch(model, optimizer, out=folder):
        ...     model(torch.ones(8, 4)).square().mean().backward()
        ...     _ = optimizer.step()
        >>> eg.diagnose(folder).next.command.split()[:2]
        ['edgeglass-diag', 'report']
    """
    if isinstance(run, Run):
        return _diagnosis(run)
    with open_run(Path(run)) as opened:
        return _diagnosis(opened)


def open_run(folder: Path) -> Run:
    """Open the run that a folder is.

    Raises:
        UsageError: if it is none, which says how many runs it holds.
    """
    if not (folder / "run.json").exists() and (inside := find_runs(folder)):
        newest = f"{len(inside)} runs, the newest is {inside[-1]}"
        raise UsageError(f"diagnose: expected one run, and {folder} holds {newest}")
    return load(folder)


def _diagnosis(run: Run) -> Diagnosis:
    findings = run.findings
    kept, problem = _explanation(run)
    headline = _headline(findings)
    standing = [each for each in findings if each.mark is not Mark.REFUTED]
    verdict, cut_short = run_verdict(run, standing), stopped_as_asked(run)
    record = run.record
    return Diagnosis(
        folder=run.folder,
        status=run.status,
        taken=record.taken,
        recorded=record.recorded,
        verdict=verdict,
        headline=headline,
        findings=tuple(findings),
        explanation=kept,
        unseen=tuple(unseen_sites(run)),
        idle_rules=tuple(idle_rules(run)),
        error=run.failure,
        problem=problem,
        next=next_command(run, headline, kept, tone=verdict.tone, cut_short=cut_short),
    )


def _headline(findings: Sequence[Finding]) -> Finding | None:
    """Return a confirmed finding, else the first that stands for itself and is not refuted; no mere fact."""
    confirmed = [each for each in findings if each.mark is Mark.CONFIRMED]
    standing = nest([each for each in findings if each.mark is not Mark.REFUTED])
    own = [branch.finding for branch in standing if needs_action(branch.finding)]
    return next(iter([*confirmed, *own]), None)


def _explanation(run: Run) -> tuple[KeptExplanation | None, str]:
    explained = run.explained
    if explained.folder is None:
        return None, explained.fault
    try:
        return read_explanation(explained.folder), explained.fault
    except UsageError as error:
        return None, str(error)
