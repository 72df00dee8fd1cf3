"""Run the exam: train what is not known yet, judge what has not been judged, and gather the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from edgeglass_models.exam.cache import Cache, Judged
from edgeglass_models.exam.cases import Case
from edgeglass_models.exam.expected import EXPECTED
from edgeglass_models.exam.pool import Task, run_all
from edgeglass_models.exam.results import Detection, Result, detection
from edgeglass_models.exam.trial import Trial
from edgeglass_models.exam.truth import SEEDS, Truth, may_be_ill, truth_of

HEALTHY_SEEDS = 5
"""Trainings of a healthy twin: its spread is the noise against which cases are judged."""

Say = Callable[[str], None]
Work = tuple[Case, int]
"""A case and a seed."""


class Exam:
    """Trains and judges the cases that it is given.

    Args:
        cache: what is known already.
        jobs: trainings at a time.
        seeds: trainings of an ill case that are judged; all are trained, as the truth needs them.
        say: told how far it is.
    """

    def __init__(self, cache: Cache, *, jobs: int, seeds: int, say: Say) -> None:
        self._cache, self._jobs, self._seeds, self._say = cache, jobs, seeds, say
        self._twins: dict[str, Case] = {}

    def run(self, twins: Sequence[Case], cases: Sequence[Case]) -> list[Result]:
        """Return the result of each healthy twin and of each case.

        A case is trained with the seeds behind the first only where that is worse than its twin.
        """
        self._twins = {twin.program: twin for twin in twins}
        self._train("healthy programs", [(twin, seed) for twin in twins for seed in range(HEALTHY_SEEDS)])
        sound = [case for case in cases if self._healthy(case.program) is not None]
        self._train("cases, first seed", [(case, 0) for case in sound])
        worse = [case for case in sound if self._may_be_ill(case)]
        self._train("cases that may be ill", [(case, seed) for case in worse for seed in range(1, SEEDS)])
        results = [case for case in sound if self._truth(case) is Truth.ILL]
        judged = [(case, seed) for case in results for seed in range(1, self._seeds)]
        others = [(case, 0) for case in sound if self._truth(case) is not Truth.CRASHED]
        healthy = [(twin, seed) for twin in twins if self._healthy(twin.program) for seed in range(self._seeds)]
        self._judge([*healthy, *others, *judged])
        return [*map(self._twin_result, twins), *map(self._case_result, sound)]

    def _train(self, what: str, work: Sequence[Work]) -> None:
        """Train what has not been tried yet, and what is to be judged and has no record by today's recorder."""
        due = [(case, seed) for case, seed in work if not self._is_known(case, seed)]
        tasks = {self._name(case, seed): (case, seed) for case, seed in due}
        calls = [Task(partial(self._cache.try_out, case, seed), name) for name, (case, seed) in tasks.items()]
        for number, ended in enumerate(run_all(calls, self._jobs), start=1):
            case, seed = tasks[ended.task.name]
            if ended.problem:
                self._cache.note(case, seed, Trial(None, ended.problem))
            self._say(f"{what}: {number} of {len(due)} ({ended.task.name})")

    def _is_known(self, case: Case, seed: int) -> bool:
        if seed < self._seeds:
            return self._cache.has_record(case, seed)
        return self._cache.trial(case, seed) is not None

    def _judge(self, work: Sequence[Work]) -> None:
        due = [(case, seed) for case, seed in work if self._cache.judged(case, seed) is None]
        tasks = [Task(partial(self._cache.judge, case, seed), self._name(case, seed)) for case, seed in due]
        for number, ended in enumerate(run_all(tasks, self._jobs), start=1):
            self._say(f"judged: {number} of {len(due)} ({ended.task.name})")
            if ended.problem:
                raise RuntimeError(f"{ended.task.name} could not be judged: {ended.problem}")

    @staticmethod
    def _name(case: Case, seed: int) -> str:
        return f"{case.name} seed {seed}"

    def _measures(self, case: Case, seeds: int) -> list[float] | None:
        """Return the measures of the first seeds, as far as there are trials; None where one of them crashed."""
        trials = [self._cache.trial(case, seed) for seed in range(seeds)]
        found = [one for one in trials if one is not None]
        if any(one.crashed or one.measure is None for one in found):
            return None
        return [one.measure for one in found if one.measure is not None]

    def _healthy(self, program: str) -> list[float] | None:
        return self._measures(self._twins[program], HEALTHY_SEEDS)

    def _may_be_ill(self, case: Case) -> bool:
        healthy, own = self._healthy(case.program), self._measures(case, 1)
        return bool(healthy and own) and not self._unchanged(case) and may_be_ill(own[0], healthy)  # type: ignore[index,arg-type]

    def _unchanged(self, case: Case) -> bool:
        """Return whether a case has trained as its twin, bit by bit, and measured the same."""
        own, twin = self._cache.trial(case, 0), self._cache.trial(self._twins[case.program], 0)
        assert own is not None
        assert twin is not None
        return (own.fingerprint, own.measure) == (twin.fingerprint, twin.measure)

    def _truth(self, case: Case) -> Truth:
        healthy, own = self._healthy(case.program), self._measures(case, SEEDS)
        if own is None or healthy is None:
            return Truth.CRASHED
        return Truth.NO_CHANGE if self._unchanged(case) else truth_of(own, healthy)

    def _detections(self, case: Case, seeds: Iterable[int], expected: Sequence[str]) -> tuple[Detection, ...]:
        twin = self._twins[case.program]
        found = []
        for seed in seeds:
            judged = self._cache.judged(case, seed)
            beside: Judged | None = None if case is twin else self._cache.judged(twin, seed)
            if judged is not None:
                found.append(detection(case, judged, beside, expected))
        return tuple(found)

    def _twin_result(self, twin: Case) -> Result:
        healthy = self._healthy(twin.program)
        reasons = self._reasons(twin, HEALTHY_SEEDS)
        truth = Truth.CRASHED if healthy is None else None
        detections = () if healthy is None else self._detections(twin, range(self._seeds), ())
        seconds = self._seconds(twin, HEALTHY_SEEDS)
        measures = tuple(healthy or ())
        return Result(twin.program, "", "", twin.part, truth, measures, measures, detections, reasons, seconds)

    def _case_result(self, case: Case) -> Result:
        assert case.operator is not None
        truth, healthy = self._truth(case), tuple(self._healthy(case.program) or ())
        seeds = range(self._seeds if truth is Truth.ILL else 1)
        expected = EXPECTED.get(case.operator.name, ())
        detections = () if truth is Truth.CRASHED else self._detections(case, seeds, expected)
        measures = tuple(self._measures(case, SEEDS) or ())
        return Result(
            case.program, case.operator.name, case.operator.family, case.part, truth, measures, healthy, detections,
            self._reasons(case, SEEDS), self._seconds(case, SEEDS),
        )  # fmt: skip

    def _reasons(self, case: Case, seeds: int) -> str:
        trials = [self._cache.trial(case, seed) for seed in range(seeds)]
        return next((one.crashed for one in trials if one is not None and one.crashed), "")

    def _seconds(self, case: Case, seeds: int) -> float:
        trials = [self._cache.trial(case, seed) for seed in range(seeds)]
        return max((one.seconds for one in trials if one is not None), default=0.0)


def operators_without_names(results: Sequence[Result], expected: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the operators of ill cases for which no code is expected."""
    ill = {result.operator for result in results if result.truth is Truth.ILL}
    return sorted(ill - {name for name, codes in expected.items() if codes})
