"""Explain a program by replays of it: interventions from outside, arguments and variables, or revisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeglass_diag.explained.record import EXPLANATION
from edgeglass_diag.explanation import program_report as reports
from edgeglass_diag.explanation.axes import Axis
from edgeglass_diag.explanation.command import command, map_options, numbers
from edgeglass_diag.explanation.engine import Explanation, OutOfBudgetError
from edgeglass_diag.explanation.keeping import keep
from edgeglass_diag.explanation.of_differences import Differences, differences, explain_differences, suspected
from edgeglass_diag.explanation.of_interventions import explain_interventions
from edgeglass_diag.explanation.of_program_maps import check_axes, map_program
from edgeglass_diag.explanation.of_revisions import RevisionSearch, explain_revisions
from edgeglass_diag.explanation.program_trials import ProgramRunner, ProgramTrial, over_seeds
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.folders import check_folder
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.leftovers import left_by, span_of
from edgeglass_diag.replaying.mirror import SUFFIX
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.replayed import Ending
from edgeglass_diag.replaying.runner import Progress, Replays
from edgeglass_diag.user_input.files import is_folder

_SCRATCH = f"revisions{SUFFIX}"

_LONGEST = 4
"""Times the steps that are chosen at first, to which replays are made longer where they do not tell."""


@dataclass(frozen=True)
class ProgramQuestion:
    """What is to be explained, and how.

    Attributes:
        subject: the failing program.
        out: folder of the replays.
        against: a healthy run of it; None without one.
        suspects: options of ``--suspect``, each with a value that may be healthy.
        revision: one of git in which it learned; None without one.
        wanted: interventions that are tried, in place of those that the findings nominate.
        seeds: how many seeds.
        steps: length of a replay; if None, until the fault has shown itself.
        budget: seconds after which no replay begins.
        workers: how many replays run side by side.
        writable: patterns of files that replays may write.
        axes: settings with the values that are mapped; none where a cause is looked for.
    """

    subject: Subject
    out: Path
    against: Subject | None = None
    suspects: Sequence[str] = ()
    revision: str | None = None
    seeds: int = 3
    steps: int | None = None
    budget: float | None = None
    workers: int | None = None
    writable: Sequence[str] = ()
    wanted: Sequence[Intervention] = ()
    axes: Sequence[Axis] = ()


@dataclass(frozen=True)
class _Session:
    """The replays of one question."""

    question: ProgramQuestion
    runner: ProgramRunner
    plan: Plan
    begun: float

    @property
    def seeds(self) -> range:
        return range(self.question.seeds)

    @property
    def facts(self) -> reports.Facts:
        subject = self.question.subject
        run = None if subject.run is None else str(subject.run)
        seconds = time.monotonic() - self.begun
        return reports.Facts(self.plan.steps, seconds, run, subject.folder, tuple(self.plan.absent))


def explain_program(question: ProgramQuestion, progress: Progress | None = None) -> ExplainReport:
    """Replay a program, and return what was found, which is also written to ``OUT/explain.json``.

    Replays that an explanation left in ``OUT`` when it was cut off are read instead of made again.

    Raises:
        UsageError: if the program does not run in a replay, nothing differs, ``out`` is in use, or the budget is too
            small.
    """
    begun = time.monotonic()
    asked = [question.against is not None, question.suspects, question.revision is not None, question.wanted]
    if sum(map(bool, asked)) > 1:
        raise UsageError("explain: expected one of --against, --suspect, --against-rev and --try")
    check_axes(question.axes, question.subject)
    _check_out(question.out)
    question.out.mkdir(parents=True, exist_ok=True)
    deadline = None if question.budget is None else begun + question.budget
    workers = question.workers or question.subject.workers
    runner = ProgramRunner(Replays(question.out, workers=workers, deadline=deadline, progress=progress))
    steps = question.steps or question.subject.steps
    plan = question.subject.plan(steps, workers=workers, writable=question.writable)
    session = _Session(question, runner, plan, begun)
    try:
        result = _explain(session)
    except OutOfBudgetError:
        raise UsageError(f"--budget {question.budget}: did not suffice for a single replay of each") from None
    result = replace(result, again=_again(question))
    keep(result, question.out, question.subject.run)
    return result


def _again(question: ProgramQuestion) -> tuple[str, ...]:
    subject, against = question.subject, question.against
    asked = {
        "--against": None if against is None else against.run,
        "--against-rev": question.revision,
        "--suspect": list(question.suspects),
        "--try": [each.text for each in question.wanted],
        **map_options(question.axes),
        "--allow-write": list(question.writable),
    }
    shared = numbers(seeds=question.seeds, steps=question.steps, budget=question.budget, workers=question.workers)
    return command(subject.run or subject.program, asked | shared)


def _explain(session: _Session) -> ExplainReport:
    question = session.question
    if question.revision is not None:
        return _explain_revisions(session, question.revision)
    healthy = question.against or (suspected(question.subject, question.suspects) if question.suspects else None)
    if healthy is not None:
        return _explain_differences(session, healthy)
    session = _begun(session, lambda plan: plan)
    _run_controls(session, session.plan)
    subject = question.subject
    if question.axes:
        mapped = map_program(session.plan, question.axes, seeds=session.seeds, runner=session.runner)
        return reports.of_map(mapped, session.runner, session.facts, seeds=question.seeds)
    findings = None if subject.run is None else subject.findings
    tried = explain_interventions(
        session.plan, findings, seeds=session.seeds, runner=session.runner, wanted=question.wanted
    )
    return reports.of_interventions(tried, session.runner, session.facts)


def _explain_revisions(session: _Session, revision: str) -> ExplainReport:
    scratch = session.question.out / _SCRATCH
    scratch.mkdir(exist_ok=True)

    def search(session: _Session) -> RevisionSearch:
        return explain_revisions(session.plan, revision, seeds=session.seeds, runner=session.runner, scratch=scratch)

    found = search(session)
    while found.threshold is None and (longer := _longer(session)) is not None:
        session = longer
        found = search(session)
    return reports.of_revisions(found, revision, session.runner, session.facts)


def _longer(session: _Session) -> _Session | None:
    """Return the session with replays of twice the steps, where those so far have not told the two ends apart.

    None where the user has chosen the steps, at four times those that were chosen here, where a program ends by itself
    before, and where the budget is spent.
    """
    question, plan, runner = session.question, session.plan, session.runner
    went_on = all(result.ending is Ending.STOPPED for _, result in runner.replayed.values())
    if question.steps is not None or not went_on or plan.steps >= _LONGEST * question.subject.steps:
        return None
    if runner.is_budget_spent:
        return None
    for trial, _ in list(runner.replayed.values()):
        runner.forget(trial)
    workers = question.workers or question.subject.workers
    longer = question.subject.plan(2 * plan.steps, workers=workers, writable=question.writable)
    return replace(session, plan=replace(longer, absent=plan.absent))


def _explain_differences(session: _Session, healthy: Subject) -> ExplainReport:
    question = session.question
    found = differences(question.subject, healthy)
    session = _begun(session, lambda plan: found.plan_with(plan, frozenset(), 1))
    explained = _tell_apart(session, found, healthy)
    while not explained.separated and (longer := _longer(session)) is not None:
        session = longer
        explained = _tell_apart(session, found, healthy)
    return reports.of_differences(explained, found.values, found.kinds, session.runner, session.facts)


def _tell_apart(session: _Session, found: Differences, healthy: Subject) -> Explanation:
    question, plan = session.question, session.plan
    other = healthy.plan(plan.steps, workers=question.workers or question.subject.workers, writable=question.writable)
    other = replace(other, absent=plan.absent)
    _run_controls(session, found.plan_with(plan, frozenset(), 1))
    _run_controls(session, found.plan_with(plan, frozenset(found.values), 1), "the healthy program")
    return explain_differences(found, plan, other, seeds=session.seeds, runner=session.runner)


def _begun(session: _Session, titled: Callable[[Plan], Plan]) -> _Session:
    """Return the session with replays that begin without what the recorded runs have left, if the program runs so.

    A program may refuse to run where its results are, or go on from its own checkpoint. One that cannot run without,
    as it has downloaded its data, is replayed with all that is there.
    """
    question = session.question
    runs = [each.run for each in (question.subject, question.against) if each is not None and each.run is not None]
    ours = {str(question.out.resolve()), *map(str, question.out.resolve().parents)}
    found = left_by([span_of(run) for run in runs], question.subject.folder)
    left = tuple(path for path in found if path not in ours)
    if not left:
        return session
    without = replace(session.plan, absent=left)
    first = ProgramTrial(replace(titled(without), seed=session.seeds[0]))
    if session.runner.run([first]):
        return replace(session, plan=without)
    session.runner.forget(first)
    return session


def _run_controls(session: _Session, plan: Plan, which: str = "the program") -> None:
    """Replay the program unchanged; ``which`` is what a message calls it.

    Raises:
        UsageError: if it does not run in a replay with any seed.
        OutOfBudgetError: if the budget is spent.
    """
    controls = over_seeds(ProgramTrial(plan), session.seeds)
    found = session.runner.run(controls)
    failed = session.runner.failures(controls)
    if failed:
        first = failed[0]
        if first.ending is Ending.REFUSED:
            raise UsageError(f"the replay was stopped: {first.error}")
        last = first.tail[-1] if first.tail else "it printed nothing"
        said = first.error or f"{first.ending}, and no optimizer step was seen ({last})"
        raise UsageError(f"{which} does not run in a replay: {said} (its output: {first.log})")
    if len(found) < len(controls):
        raise OutOfBudgetError


def _check_out(out: Path) -> None:
    """Check that ``out`` can be used: new, empty, or the replays of an explanation that was cut off."""
    names = {child.name for child in out.iterdir()} if is_folder(out) else set()
    if not all(_is_ours(name, names) for name in names):
        check_folder(out)


def _is_ours(name: str, names: set[str]) -> bool:
    return name in (EXPLANATION, _SCRATCH) or name.endswith(SUFFIX) or f"{name}{SUFFIX}" in names
