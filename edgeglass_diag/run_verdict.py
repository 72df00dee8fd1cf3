"""The verdict on a recorded run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeglass_diag.records import Finding, RunStatus
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.verdict import Verdict, judge

if TYPE_CHECKING:
    from edgeglass_diag.store import Run


def run_verdict(run: Run, findings: Sequence[Finding] | None = None) -> Verdict:
    """Return whether a run learns, and if not, what is wrong.

    A training that was stopped after a number of steps that was asked for has not failed: of it is said what was found
    so far.

    Args:
        run: the record.
        findings: those that count; all of the run if None.
    """
    counted = run.findings if findings is None else findings
    losses = [reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")]
    chances = [reading.values[0] for _, reading in run.readings(LOSS_CHANCE, site="")]
    chance = chances[-1] if chances else None
    status = RunStatus.RUNNING if stopped_as_asked(run) else run.status
    return judge(
        counted,
        losses,
        chance,
        status,
        recorded=run.record.recorded,
        taken=run.record.taken,
        failure=failure_of_ranks(run),
    )


def failure_of_ranks(run: Run) -> str:
    """Return what ended a training of several ranks that failed; empty of one process, whose error its status tells."""
    return run.failure if len(run.ranks) > 1 else ""


def stopped_as_asked(run: Run) -> bool:
    """Return whether the training was stopped after the number of optimizer steps that was asked for."""
    return any(each.result.get("stopped_after") for each in (run, *run.ranks.values()))
