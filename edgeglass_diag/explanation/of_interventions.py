"""Which interventions from outside cure a program: those that its findings nominate, then those of general use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeglass_diag.explanation.engine import Explanation, TrialsOf, explain_alone, explain_together
from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome
from edgeglass_diag.explanation.program_trials import ProgramRunner, ProgramTrial, losses_of, over_seeds
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding
from edgeglass_diag.replaying.nominations import GENERAL, PLACEBO, Nomination, headlines, nominate
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.search import Subset
from edgeglass_diag.store import load

MOST_NOMINATED = 12
"""Nominated interventions that are tried."""


@dataclass(frozen=True)
class Tried:
    """What was tried.

    Attributes:
        found: what it shows.
        nominations: the suspects by the labels under which they were tried.
        findings: those of the run, or of the first control.
        noise: by how much a replay differs from an equal one, relative to chance: 0 where all losses are the very same
            numbers; None where it was not measured.
    """

    found: Explanation
    nominations: dict[str, Nomination]
    findings: Sequence[Finding]
    noise: float | None


def explain_interventions(
    plan: Plan,
    findings: Sequence[Finding] | None,
    *,
    seeds: Sequence[int],
    runner: ProgramRunner,
    wanted: Sequence[Intervention] = (),
) -> Tried:
    """Return which interventions cure a program.

    Args:
        plan: replays it unchanged.
        findings: what was found in it; if None, what the first control finds.
        seeds: of each verdict.
        runner: runs the trials; the controls have run.
        wanted: what is tried, and nothing else; if empty, what the findings nominate.

    Raises:
        OutOfBudgetError: if the budget is spent before the controls have run.
    """
    controls = [each for trial in over_seeds(ProgramTrial(plan), seeds) if (each := runner.done.get(trial.key))]
    placed = replace(plan, interventions=(PLACEBO,), title=PLACEBO.words, seed=seeds[0])
    placebo = ProgramTrial(placed, "placebo")
    noise = _noise(placebo, controls[0][1], runner)
    if findings is None:
        with load(controls[0][1].folder) as run:
            findings = run.findings
    headline = _headline(findings, [outcome for _, outcome in controls])
    nominated = nominate(findings)
    asked = {each.interventions: each for each in nominated}
    chosen = [asked.get((each,), Nomination((each,))) for each in wanted] or nominated[:MOST_NOMINATED]
    suspects = {each.label: each for each in chosen}
    curing = _trials(plan, suspects, seeds)

    def alone() -> Explanation:
        return explain_alone(list(suspects), curing=curing, runner=runner, headline=headline, noise=noise or 0.0)

    found = alone()
    if not found.cures.sets and not wanted:
        suspects |= {each.label: Nomination((each,)) for each in GENERAL if each.label not in suspects}
        found = alone()
    if not found.cures.sets:
        firsts = list(suspects) if wanted else _one_for_each_headline(suspects, findings)
        together = explain_together(firsts, found, curing=curing, runner=runner, noise=noise or 0.0)
        found = together if together is not None else found
    return Tried(found, suspects, findings, noise)


def _trials(plan: Plan, suspects: dict[str, Nomination], seeds: Sequence[int]) -> TrialsOf[ProgramTrial]:
    def trials(changed: Subset) -> list[ProgramTrial]:
        made = tuple(each for label in sorted(changed) for each in suspects[label].interventions)
        title = " and ".join(suspects[label].words for label in sorted(changed))
        kind = "intervention" if made else "control"
        return over_seeds(ProgramTrial(replace(plan, interventions=made, title=title), kind), seeds)

    return trials


def _noise(placebo: ProgramTrial, control: Outcome, runner: ProgramRunner) -> float | None:
    """Return by how much an equal replay differs; None where one of the two has no finite loss to compare."""
    outcome = runner.run([placebo]).get(placebo.key)
    if outcome is None:
        return None
    one, other = (losses_of(each.folder) for each in (outcome, control))
    if one.keys() == other.keys() and np.array_equal(list(one.values()), list(other.values()), equal_nan=True):
        return 0.0
    return abs(outcome.loss - control.loss) if math.isfinite(outcome.loss - control.loss) else None


def _headline(findings: Sequence[Finding], controls: Sequence[Outcome]) -> str | None:
    """Return the code of the worst finding that most controls have as well; None if there is none."""
    for finding in headlines(findings):
        if 2 * sum(finding.code in outcome.codes for outcome in controls) > len(controls):
            return finding.code
    return None


def _one_for_each_headline(suspects: dict[str, Nomination], findings: Sequence[Finding]) -> list[str]:
    chosen = []
    for finding in headlines(findings):
        first = next((label for label, each in suspects.items() if finding in each.findings), None)
        if first is not None and first not in chosen:
            chosen.append(first)
    return chosen


def learns_already(controls: Sequence[Outcome]) -> bool:
    """Return whether the unchanged program learns: the loss is below chance and the answers are better than guessed."""
    return all(outcome.learns() and outcome.loss < -MIN_LOSS_GAP for outcome in controls)
