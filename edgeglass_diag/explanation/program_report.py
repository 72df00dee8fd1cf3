"""The reports that are made of the replays of a program."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeglass_diag.explained.phase_map import KeptMap
from edgeglass_diag.explanation.engine import Explanation
from edgeglass_diag.explanation.map_report import MapFacts, map_report
from edgeglass_diag.explanation.mapping import is_ill
from edgeglass_diag.explanation.marking import mark_findings
from edgeglass_diag.explanation.of_interventions import Tried
from edgeglass_diag.explanation.of_revisions import RevisionSearch
from edgeglass_diag.explanation.outcome import MIN_LOSS_GAP, Outcome
from edgeglass_diag.explanation.program_trials import ProgramRunner, ProgramTrial
from edgeglass_diag.explanation.program_words import interventions_verdict, ranked, revisions_verdict
from edgeglass_diag.explanation.render import report, verdict
from edgeglass_diag.explanation.report import ExplainReport, Replay, Suspect
from edgeglass_diag.replaying.replayed import Replayed
from edgeglass_diag.replaying.search import Count


@dataclass(frozen=True)
class Facts:
    """What all replays share.

    Attributes:
        steps: of a replay.
        seconds: that all took.
        run: the run that is explained, None without one.
        folder: working directory of its program.
        left_out: paths that the replays begin without, as the run has made them.
    """

    steps: int
    seconds: float
    run: str | None
    folder: str
    left_out: tuple[str, ...] = ()


def of_interventions(tried: Tried, runner: ProgramRunner, facts: Facts) -> ExplainReport:
    """Return the report on interventions from outside, the best cure first."""
    found = tried.found
    made = report(found, [], {}, steps=facts.steps, seconds=facts.seconds)
    order = [name for each in ranked(found) for name in sorted(each)]
    places = _places(runner, facts.folder)
    named = {name: each.words for name, each in tried.nominations.items()}

    def told(row: Suspect) -> Suspect:
        where = places.get(row.setting) or _of_finding(row.setting, tried)
        together = tuple(named[name] for name in row.together)
        return replace(row, setting=named[row.setting], kind="intervention", where=where, together=together)

    causes = sorted(made.causes, key=lambda row: order.index(row.setting))
    return replace(
        made,
        verdict=interventions_verdict(tried, facts.steps),
        causes=tuple(told(row) for row in causes),
        not_causes=tuple(told(row) for row in made.not_causes),
        trials=_trials(runner, found.is_ill),
        marks=mark_findings(tried),
        noise=tried.noise,
        run=facts.run,
        guard=_guard(runner),
        left_out=_left_out(facts),
    )


def of_differences(
    found: Explanation,
    values: Mapping[str, Sequence[object]],
    kinds: Mapping[str, str],
    runner: ProgramRunner,
    facts: Facts,
) -> ExplainReport:
    """Return the report on arguments and variables."""
    made = report(found, [], values, steps=facts.steps, seconds=facts.seconds)
    return replace(
        made,
        verdict=verdict(found, facts.steps),
        causes=tuple(replace(row, kind=kinds[row.setting]) for row in made.causes),
        not_causes=tuple(replace(row, kind=kinds[row.setting]) for row in made.not_causes),
        trials=_trials(runner, found.is_ill),
        run=facts.run,
        guard=_guard(runner),
        left_out=_left_out(facts),
    )


def of_revisions(found: RevisionSearch, revision: str, runner: ProgramRunner, facts: Facts) -> ExplainReport:
    """Return the report on revisions and lines."""
    threshold = found.threshold
    causes = [*_guilty(found), *_hunks(found, guilty=True)]
    is_ill = threshold.is_failing if threshold is not None else lambda outcome: outcome.loss >= -MIN_LOSS_GAP
    return ExplainReport(
        verdict=revisions_verdict(found, revision, facts.steps),
        causes=tuple(causes),
        not_causes=tuple(_hunks(found, guilty=False)),
        cures=(),
        breaks=(),
        threshold=threshold.loss if threshold is not None else -MIN_LOSS_GAP,
        steps=facts.steps,
        trials=_trials(runner, is_ill),
        finished=not runner.is_budget_spent,
        seconds=round(facts.seconds, 1),
        run=facts.run,
        guard=_guard(runner),
    )


def of_map(found: KeptMap, runner: ProgramRunner, facts: Facts, *, seeds: int) -> ExplainReport:
    """Return the report on a map."""
    shared = MapFacts(
        seeds, facts.steps, not runner.is_budget_spent, facts.seconds, None if facts.run is None else Path(facts.run),
        _guard(runner), _left_out(facts),
    )  # fmt: skip
    return map_report(found, _trials(runner, is_ill), shared)


def _guilty(found: RevisionSearch) -> list[Suspect]:
    bisection = found.bisection
    if bisection is None:
        return []
    good, bad = bisection.counts.get(bisection.good), bisection.counts.get(bisection.bad)
    cured = None if good is None else str(Count(good.of - good.hits, good.of))
    names = {each: f"{each[:10]} {(found.summaries or {}).get(each, '')}".strip() for each in bisection.suspects}
    return [
        Suspect(name, each[:10], bisection.good[:10], cured, None if bad is None else str(bad), kind="commit")
        for each, name in names.items()
    ]


def _hunks(found: RevisionSearch, *, guilty: bool) -> list[Suspect]:
    blame = found.blame
    if blame is None:
        return []
    sets = {key: each for each in (*blame.made_ill.sets, *blame.cures.sets) for key in each}
    rows = []
    for key, hunk in blame.hunks.items():
        if (key in sets) is guilty:
            cured, ill = blame.cures.singles.get(key), blame.made_ill.singles.get(key)
            together = tuple(blame.names(sets[key])) if guilty else ()
            counts = [None if count is None else str(count) for count in (cured, ill)]
            rows.append(Suspect(hunk.name, None, None, counts[0], counts[1], together, "hunk", hunk.name))
    return rows


def _guard(runner: ProgramRunner) -> str:
    return " and ".join(sorted({result.guard for _, result in runner.replayed.values() if result.guard}))


def _left_out(facts: Facts) -> tuple[str, ...]:
    return tuple(os.path.relpath(path, facts.folder) for path in facts.left_out)


def _places(runner: ProgramRunner, folder: str) -> dict[str, str]:
    """Return the line of source at which what was changed is set, by the label of the intervention."""
    start = folder + os.sep
    return {
        label: place.removeprefix(start)
        for _, result in runner.replayed.values()
        for label, place in result.places.items()
    }


def _of_finding(name: str, tried: Tried) -> str | None:
    places = [finding.place for finding in tried.nominations[name].findings if finding.place is not None]
    return str(places[0]) if places else None


def _trials(runner: ProgramRunner, is_ill: Callable[[Outcome], bool]) -> tuple[Replay, ...]:
    rows = sorted(runner.replayed.values(), key=lambda each: (each[0].kind != "control", each[0].label, each[0].seed))
    return tuple(_trial(trial, result, runner.done.get(trial.key), is_ill) for trial, result in rows)


def _trial(
    trial: ProgramTrial, result: Replayed, done: tuple[ProgramTrial, Outcome] | None, is_ill: Callable[[Outcome], bool]
) -> Replay:
    outcome = Outcome(math.inf) if done is None else done[1]
    return Replay(
        label=trial.label,
        seed=trial.seed,
        loss=outcome.loss if math.isfinite(outcome.loss) else None,
        accuracy=outcome.accuracy if math.isfinite(outcome.accuracy) else None,
        failing=is_ill(outcome),
        steps=outcome.steps,
        findings=outcome.codes,
        out=result.folder,
        kind=trial.kind,
        ending=str(result.ending),
    )
