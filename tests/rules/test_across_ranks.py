"""Rules across ranks on made records of two and three ranks; real trainings stand in tests/ranks."""

import math

import pytest

from edgeglass_diag.records import Reading, Severity, UsageError
from edgeglass_diag.rules.ranks_judge import RANK_RULES, RankJudge
from edgeglass_diag.signals import find
from edgeglass_diag.sites import ParameterSite

RULES = RANK_RULES

STEPS = 6


class Record:
    """A record of one rank: values by ``site|signal`` and step."""

    def __init__(self, rows, *, steps=STEPS, sites=()):
        self.rows, self.steps, self.sites, self.is_broken = rows, steps, list(sites), False

    @property
    def signals(self):
        return [find(name.partition("|")[2]) for name in self.rows]

    def readings(self, signal, *, site=None, after=0, thinned=False):
        if self.is_broken:
            raise UsageError("half a file")
        found = []
        for name, of in self.rows.items():
            place, _, path = name.partition("|")
            if path == signal and site in (None, place):
                steps = range(after, self.steps)
                found += [(step + 1, Reading(step, place, find(path), (float(of(step)),))) for step in steps]
        return [(row, reading) for row, reading in found if not math.isinf(reading.values[0])]


def steady(value):
    return lambda step: value


EQUAL = {
    "|optimizer/state_held": steady(0),
    "|weight/digest": lambda t: 0.1 * t,
    "w|weight/digest": lambda t: 0.1 * t,
    "|gradient/norm": steady(1.0),
}


def judged(*rows, **options):
    records = {rank: Record(EQUAL | own, **options) for rank, own in enumerate(rows)}
    judge = RankJudge(rule() for rule in RANK_RULES)
    found = {finding.code: finding for finding in judge.judge(records)}
    assert judge.failures == {}
    return found


def apart(t):
    return 0.1 * t + (0.01 if t > 1 else 0)


AVERAGED = {"|gradient/averaged": steady(1.0)}
GATHERED = {
    "|contrast/rows": steady(8), "|contrast/candidates": steady(16), "|contrast/digest": lambda t: 0.3 * t,
}  # fmt: skip
OWN = {"|contrast/rows": steady(8), "|contrast/candidates": steady(8)}


def counted(steps):
    """Return the record of a rank whose step t is really the step ``steps(t)``."""

    def weights(t):
        return 0.01 * steps(t) + (0.001 if steps(t) != t else 0)  # without the step that was left out

    return {
        "|optimizer/collectives": lambda t: 2.0 * steps(t), "|weight/digest": weights, "w|weight/digest": weights,
    }  # fmt: skip


CASES = {
    "EG820": ({}, {"|weight/digest": apart, "w|weight/digest": apart}, {}),
    "EG821": (
        AVERAGED | {"w|gradient/norm": steady(1.0)},
        AVERAGED | {"|gradient/norm": steady(2.0), "w|gradient/norm": steady(2.0)},
        AVERAGED | {"w|gradient/norm": steady(1.0)},
    ),
    "EG822": (
        {"|optimizer/state_held": steady(4)},
        {"|optimizer/state_held": lambda t: 4 if t else 0},
        {"|optimizer/state_held": steady(4)},
    ),
    "EG823": ({"g|optimizer/lr": steady(1e-3)}, {"g|optimizer/lr": steady(1e-4)}, {"g|optimizer/lr": steady(1e-3)}),
    "EG824": (
        {"|buffer/digest": steady(0.1), "n|buffer/digest": steady(0.1)},
        {"|buffer/digest": steady(0.2), "n|buffer/digest": steady(0.2)},
        {"|buffer/digest": steady(0.1), "n|buffer/digest": steady(0.1)},
    ),
    "EG825": ({"x|data/fingerprint": lambda t: 0.1 * t},) * 2 + ({"x|data/fingerprint": lambda t: -0.1 * t},),
    "EG826": ({"x|data/samples": steady(8)}, {"x|data/samples": steady(6)}, {"x|data/samples": steady(8)}),
    "EG827": (
        {"|loss/total": steady(1)},
        {"|loss/total": lambda t: math.nan if t > 2 else 1},
        {"|loss/total": steady(1)},
    ),
    "EG828": ({"n|batch_norm/samples": steady(32)}, {"n|batch_norm/samples": steady(8)}, {}),
    "EG829": ({"l|loss/weight": steady(1)}, {"l|loss/weight": steady(0.5)}, {"l|loss/weight": steady(1)}),
    "EG830": (
        {"|contrast/learning": steady(1)},
        {"|contrast/learning": steady(0.5)},
        {"|contrast/learning": steady(1)},
    ),
    "EG831": tuple(GATHERED | {"|contrast/label_offset": steady(offset)} for offset in (0, 0, 16)),
    "EG832": tuple(OWN | {"|contrast/digest": steady(0.1 * rank)} for rank in range(3)),
    "EG833": (counted(lambda t: t), counted(lambda t: t + (t > 1))),
}
NAMED = {"EG825": [0, 1], "EG832": [0, 1, 2]}
HEALTHY = {
    "EG820": ({"|weight/digest": lambda t: 0.1 * t + (0.01 if t % 3 else 0)}, {}),  # averaged now and then
    "EG821": ({"|gradient/averaged": steady(0.0), "|gradient/norm": steady(2.0)}, {"|gradient/averaged": steady(0.0)}),
    "EG822": tuple({"|optimizer/state_held": lambda t, own=own: own if t else 0} for own in (3, 5)),
    "EG823": ({"g|optimizer/lr": lambda t: 1e-3 * t},) * 2,
    "EG824": ({"|buffer/digest": lambda t: 0.1 if t < 5 else 0.2}, {"|buffer/digest": steady(0.1)}),
    "EG825": ({"x|data/fingerprint": steady(0.5), "mask|data/fingerprint": lambda t: 0.1 * t},) * 2,
    "EG826": ({"x|data/samples": steady(8)}, {"x|data/samples": lambda t: 8 + t % 3}),
    "EG827": ({"|loss/total": lambda t: math.nan if t > 2 else 1},) * 2,
    "EG828": ({"n|batch_norm/samples": steady(32)},) * 2,
    "EG829": ({"l|loss/weight": lambda t: 1 + 0.1 * t}, {"l|loss/weight": lambda t: 1 + 0.2 * t}),
    "EG830": ({"|contrast/learning": steady(1)}, {"|contrast/learning": steady(math.nan)}),
    "EG831": tuple(GATHERED | {"|contrast/label_offset": steady(8 * rank)} for rank in range(2)),
    "EG832": (GATHERED, GATHERED),
    "EG833": tuple({"|optimizer/collectives": lambda t, own=own: own * t + 2} for own in (2, 3)),  # they send to others
}


@pytest.mark.parametrize("code", CASES)
def test_the_rank_that_differs_is_named(code):
    found = judged(*CASES[code])
    assert {known for known, finding in found.items() if finding.because_of is None} == {code}
    assert found[code].evidence["ranks"] == NAMED.get(code, [1])
    assert "rank" in found[code].message


@pytest.mark.parametrize("code", HEALTHY)
def test_what_resembles_it_is_silent(code):
    assert code not in judged(*HEALTHY[code])


def test_both_tables_have_every_rule():
    assert set(CASES) == set(HEALTHY) == {rule.code for rule in RULES}


def test_weights_in_proportion_to_the_samples_are_silent():
    rows = [{"x|data/samples": steady(n), "l|loss/weight": steady(n / 8)} for n in (8, 4)]
    assert judged(*rows) == {}


def test_ranks_that_share_no_model_are_not_compared():
    stages = [{"|weight/digest": steady(v), "w|weight/digest": steady(v), "|gradient/norm": steady(v)} for v in (1, 2)]
    assert judged(*stages) == {}


def test_processes_that_train_each_for_itself_are_not_compared():
    rows = [{"x|data/fingerprint": lambda t: 0.1 * t, "|gradient/norm": steady(1.0)} for _ in range(2)]
    records = {rank: Record(own) for rank, own in enumerate(rows)}
    assert RankJudge(rule() for rule in RANK_RULES).judge(records) == []


def test_an_input_with_nan_that_the_model_can_take_is_no_fault():
    rows = [{"x|data/mean": steady(mean), "|loss/total": steady(1)} for mean in (1, math.nan)]
    assert judged(*rows) == {}
    rows[1]["|loss/total"] = steady(math.nan)
    assert judged(*rows)["EG827"].site == "x"


def test_shards_bring_no_alarm():
    shard = ParameterSite(path="w", shape=(4, 4), local_shape=(2, 4))
    rows = [AVERAGED | {"|gradient/norm": steady(v), "w|gradient/norm": steady(v)} for v in (1, 2)]
    assert judged(*rows, sites=[shard]) == {}


def test_a_rank_that_lags_or_cannot_be_read_is_compared_later_and_as_far_as_it_is():
    first, second = Record(EQUAL), Record(EQUAL | CASES["EG820"][1], steps=2)
    judge = RankJudge(rule() for rule in RANK_RULES)
    assert judge.judge({0: first, 1: second}) == []
    second.is_broken = True
    assert judge.judge({0: first, 1: second}) == []
    second.is_broken, second.steps = False, STEPS
    (found,) = judge.judge({0: first, 1: second})
    assert (found.code, found.since) == ("EG820", 2)
    assert judge.judge({0: first}) == [found]
    assert judge.failures == {}


def test_rules_bring_one_another():
    def later(t):
        return 0.1 * t + (0.01 if t else 0)

    rate = {"g|optimizer/lr": steady(1e-4), "|weight/digest": later, "w|weight/digest": later}
    found = judged({"g|optimizer/lr": steady(1e-3)}, rate)
    assert {code: finding.because_of for code, finding in found.items()} == {"EG823": None, "EG820": "EG823"}


def test_steps_are_compared_that_are_the_same_step():
    """The second rank leaves out the step 2, and its record is a step behind from then on."""

    def at(steps):
        return counted(steps) | {
            "g|optimizer/lr": lambda t: 1e-3 * (1 + steps(t)),
            "x|data/fingerprint": lambda t: 0.1 * steps(t),
        }

    found = judged(at(lambda t: t), at(lambda t: t + (t > 1)))
    assert set(found) == {"EG820", "EG825", "EG833"}  # schedules agree, and so do the data, as the steps are compared
    assert found["EG833"].evidence == {"ranks": [1], "fewer": {1: 1}}
    assert found["EG833"].since == 2


def test_operations_that_not_all_ranks_take_part_in_are_no_steps():
    """Every fifth step the second rank sends something; a part of the model is its own."""
    shared = {"w|weight/digest": lambda t: 0.01 * t, "g|optimizer/lr": lambda t: 1e-3 * (1 + t)}
    first = {"|optimizer/collectives": lambda t: 2.0 * t, "|weight/digest": lambda t: 0.01 * t}
    sends = {"|optimizer/collectives": lambda t: 2.0 * (t + t // 5), "|weight/digest": lambda t: 0.02 * t}
    assert "EG833" not in judged(first | shared, sends | shared)
    assert "EG823" not in judged(first | shared, sends | shared)


def test_ranks_with_the_same_weights_again_have_left_out_nothing():
    """Behind a Join the second rank has taken a step fewer, and has the weights of the first."""

    def joined(steps):
        return {
            "|optimizer/collectives": lambda t: 2.0 * steps(t),
            "|weight/digest": lambda t: 0.01 * steps(t),
            "w|weight/digest": lambda t: 0.01 * steps(t),
        }

    assert judged(joined(lambda t: t), joined(lambda t: t + (t > 1))) == {}


def joined(steps, own=()):
    """Return the record of a rank in a Join: its step t is the step ``steps(t)`` of the first."""
    return counted(steps) | {
        "|optimizer/collectives": lambda t: 2.0 * steps(t) + 9 * (steps(t) > 3),  # of which the end has some
        "|optimizer/state_held": steady(4),
        "|gradient/joined": steady(1),
        **dict(own),
    }


def test_behind_a_join_the_state_lacks_the_steps_and_no_step_is_left_out():
    """The second rank has two batches in the first epoch, and the first four; all go on together."""
    found = judged(joined(lambda t: t), joined(lambda t: t + 2 * (t > 1)))
    assert {code for code, finding in found.items() if finding.because_of is None} == {"EG822"}
    assert found["EG822"].severity is Severity.WARNING
    assert found["EG822"].evidence == {"ranks": [1], "fewer": {1: 2}}
    assert "Join" in found["EG822"].fix
    assert all(finding.severity is Severity.WARNING for finding in found.values())


def test_behind_a_join_an_optimizer_without_state_lacks_nothing():
    without = {"|optimizer/state_held": steady(0)}
    assert "EG822" not in judged(joined(lambda t: t, without), joined(lambda t: t + 2 * (t > 1), without))


def test_a_step_that_a_scaler_skips_on_one_rank_is_named():
    took = {"|optimizer/state_held": lambda t: math.inf if t == 3 else 4.0}
    skips = {"|optimizer/skipped": lambda t: 1.0 if t == 3 else math.inf}
    found = judged({"|optimizer/state_held": steady(4.0)}, took | skips)
    assert found["EG833"].evidence["ranks"] == [1]
    assert found["EG833"].since == 3
    assert judged(took | skips, took | skips) == {}
