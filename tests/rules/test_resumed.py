"""A training that is started again: what did not come back is named, and one that restores all of it is silent."""

import pytest

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.resumed_optimizer import RateNotResumed, StateNotResumed
from edgeglass_diag.rules.resumed_weights import LossJumpsAtCut, WeightsNotResumed
from tests.helpers.resumed_trainings import Training, adam, first_part, momentum, plain, second_part

RULES = (RateNotResumed, StateNotResumed, WeightsNotResumed, LossJumpsAtCut)


@pytest.fixture(scope="module", params=[adam, pytest.param(momentum, marks=pytest.mark.long)], ids=["adam", "momentum"])
def begun(request, tmp_path_factory):
    """The folder of a first part that ended 37 steps behind its checkpoint, and the latter; it may be copied."""
    out = tmp_path_factory.mktemp("first") / "run"
    return request.param, out, first_part(out, steps=110, lost=37, make=request.param)


@pytest.fixture
def go_on(begun, tmp_path):
    """Go on with a copy of the first part."""
    from shutil import copytree

    make, out, kept = begun

    def go_on(**options):
        return second_part(copytree(out, tmp_path / "run"), kept, make=make, **options)

    return go_on


@pytest.mark.parametrize(
    ("without", "seed", "codes"),
    [
        ((), 5, set()),
        (("scheduler",), 0, {"EG240"}),
        (("optimizer",), 0, {"EG241"}),
        (("optimizer", "scheduler"), 0, {"EG240", "EG241"}),
        (("model",), 0, {"EG242", "EG243"}),
        (("model",), 5, {"EG242", "EG243"}),
        (("model", "optimizer", "scheduler"), 5, {"EG240", "EG241", "EG242", "EG243"}),
    ],
    ids=["all", "no-schedule", "no-state", "neither", "same-seed", "other-seed", "nothing"],
)
def test_what_did_not_come_back_is_named(go_on, without, seed, codes):
    assert go_on(without=without, seed=seed) & {rule.code for rule in RULES} == codes


def test_a_restored_training_has_no_finding(go_on):
    assert go_on(seed=5) == set()


def test_the_jump_of_the_loss_follows_from_the_weights(go_on, tmp_path):
    go_on(without=("model",))
    with eg.load(tmp_path / "run") as run:
        found = {finding.code: finding for finding in run.findings}
    assert found["EG243"].because_of == "EG242"
    assert found["EG242"].severity is Severity.CRITICAL
    assert found["EG242"].since == 147


def test_a_rate_set_by_hand_is_named(go_on):
    def tenfold(training):
        for group in training.optimizer.param_groups:
            group["initial_lr"] *= 10
        training.scheduler.base_lrs = [10 * rate for rate in training.scheduler.base_lrs]

    assert "EG240" in go_on(change=tenfold)


def test_moments_of_zero_are_none(go_on, begun):
    def zeroed(training):
        for state in training.optimizer.state.values():
            for name, value in state.items():
                if name != "step":
                    value.zero_()

    assert "EG241" in go_on(change=zeroed)


def test_plain_gradient_descent_has_no_state_to_lose(tmp_path):
    kept = first_part(tmp_path / "run", steps=60, make=plain)
    assert second_part(tmp_path / "run", kept, without=("optimizer",), steps=15, make=plain) == set()


def test_a_training_that_ended_and_is_trained_further_is_told_a_fact(tmp_path):
    kept = first_part(tmp_path / "run", steps=395)
    assert "EG240" in second_part(tmp_path / "run", kept, without=("scheduler",), steps=12)
    with eg.load(tmp_path / "run") as run:
        assert [finding.severity for finding in run.findings if finding.code == "EG240"] == [Severity.INFO]


def test_findings_of_the_first_part_stay_and_are_not_told_again(tmp_path):
    def all_but_two(weights):
        return adam(list(weights)[2:])

    kept = first_part(tmp_path / "run", steps=20, make=all_but_two)
    with eg.load(tmp_path / "run") as run:
        before = {finding.key: (finding.step, finding.severity) for finding in run.findings}
    assert {code for code, _ in before} == {"EG003"}
    training = Training(make=all_but_two)
    training.load(kept)
    told = []
    with eg.watch(out=tmp_path / "run", resume=True, on_finding=told.append):
        training.train(20)
    with eg.load(tmp_path / "run") as run:
        assert {finding.key: (finding.step, finding.severity) for finding in run.findings} == before
        assert run.header["command"]
    assert told == []


def test_a_logged_metric_stands_where_the_record_stands(tmp_path):
    kept = first_part(tmp_path / "run", steps=20, lost=5)
    training = Training()
    training.load(kept)
    with eg.watch(out=tmp_path / "run", resume=True) as watch:
        for own in range(20, 32):
            training.train(1)
            if own % 5 == 0:
                watch.log({"val": float(own)}, own)
    with eg.load(tmp_path / "run") as run:
        assert [(reading.step, reading.values[0]) for _, reading in run.readings("metric/val")] == [
            (25, 20.0), (30, 25.0), (35, 30.0)
        ]  # fmt: skip
