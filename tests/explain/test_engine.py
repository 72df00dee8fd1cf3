"""Counts, verdict and JSON from given outcomes."""

import math

import pytest

from edgeglass_diag.explanation.engine import OutOfBudgetError, explain_alone, explain_difference
from edgeglass_diag.explanation.outcome import Outcome, OutcomeThreshold
from edgeglass_diag.explanation.recipe_trials import explain_settings, settings_trials
from edgeglass_diag.explanation.render import report, verdict

FAILING = {"lr": 1.0, "norm": "none", "latents": 16, "name": "x"}
HEALTHY = {"lr": 0.1, "norm": "pre", "latents": 64, "name": "x"}


class Runner:
    def __init__(self, loss, budget=10**6):
        self.loss, self.budget, self.done = loss, budget, {}

    @property
    def is_budget_spent(self):
        return len(self.done) >= self.budget

    def run(self, trials):
        wanted = {trial.key: trial for trial in trials}
        for key, trial in wanted.items():
            if key not in self.done and not self.is_budget_spent:
                self.done[key] = trial, Outcome(self.loss(trial.settings, trial.seed), steps=trial.steps)
        return {key: self.done[key][1] for key in wanted if key in self.done}


def explain(loss, **changed):
    runner = Runner(loss, **changed)
    found = explain_settings(FAILING, HEALTHY, ["lr", "norm", "latents"], seeds=(0, 1, 2), steps=50, runner=runner)
    values = {name: (FAILING[name], HEALTHY[name]) for name in ("lr", "norm", "latents")}
    return found, report(found, list(runner.done.values()), values, steps=50, seconds=1.0).as_dict(), runner


def overflows(settings, seed):
    """Fail if the rate is high and the norm is missing; the latents do not matter."""
    return 0.0 if settings["lr"] == 1.0 and settings["norm"] == "none" else -0.9 + 0.01 * seed


def test_either_of_two_changes_cures_and_only_both_break():
    found, result, runner = explain(overflows)
    assert verdict(found, 50) == (
        "In 50 steps the failing settings end at chance against 89.0% below chance for the healthy settings. "
        "Cured by lr (3/3) or norm (3/3), any one of these alone. Broken by lr and norm (3/3) and only together."
    )
    assert [row["setting"] for row in result["not_causes"]] == ["latents"]
    assert result["not_causes"][0] == {
        "kind": "setting", "setting": "latents", "ill": 16, "healthy": 64,
        "where": None, "cured": "0/3", "made_ill": "0/3"
    }  # fmt: skip
    lr = next(row for row in result["causes"] if row["setting"] == "lr")
    assert (lr["ill"], lr["healthy"], lr["cured"], lr["made_ill"]) == (1.0, 0.1, "3/3", "0/3")
    assert result["makes_ill"] == [{"settings": ["lr", "norm"], "count": "3/3"}]
    assert len(result["trials"]) == len(runner.done) == len({t["label"] + str(t["seed"]) for t in result["trials"]})


def test_equal_settings_are_replayed_once():
    _, _, runner = explain(overflows)
    contents = [(tuple(sorted(trial.settings.items())), trial.seed) for trial, _ in runner.done.values()]
    assert len(contents) == len(set(contents))


def test_without_a_healthy_end_no_difference_is_a_cause():
    found, result, _ = explain(lambda settings, seed: 1e-4 * seed)
    assert found.breaks is None
    assert result["causes"] == []
    assert {row["setting"]: row["cured"] for row in result["not_causes"]} == {
        "lr": "0/3",
        "norm": "0/3",
        "latents": "0/3",
    }
    assert result["verdict"].startswith("Both fail: 50 steps end at chance against chance")


def test_two_runs_that_both_learn_are_not_separated():
    _, result, _ = explain(lambda settings, seed: -0.9)
    assert result["causes"] == []
    assert "do not separate the two" in result["verdict"]


def test_a_loss_that_is_not_finite_is_failing():
    found, result, _ = explain(lambda s, seed: math.inf if s["lr"] == 1.0 else -0.5)
    assert [row["setting"] for row in result["causes"]] == ["lr"]
    assert "a loss that is not finite (3/3)" in result["verdict"]
    assert all(trial["loss"] is None for trial in result["trials"] if trial["ill"])
    assert found.threshold.is_failing(Outcome(math.nan))


def test_the_verdict_names_changes_on_which_seeds_disagree():
    """The norm helps two of three seeds."""

    def loss(settings, seed):
        return 0.0 if settings["lr"] == 1.0 and not (settings["norm"] == "pre" and seed > 0) else -0.9

    _, result, _ = explain(loss)
    assert "Seeds disagree about norm" in result["verdict"]
    assert next(row["cured"] for row in result["causes"] if row["setting"] == "norm") == "2/3"


def test_the_verdict_names_a_spent_budget_and_one_too_small_raises():
    _, result, _ = explain(overflows, budget=9)
    assert result["finished"] is False
    assert result["verdict"].endswith("The budget was spent before everything was tried.")
    with pytest.raises(OutOfBudgetError):
        explain(overflows, budget=2)


def test_without_a_healthy_run_changes_are_measured_by_the_best():
    changes = {"lr / 10": {"lr": 0.1}, "norms": {"norm": "pre"}, "more latents": {"latents": 64}}
    trials = settings_trials(FAILING, changes, "failing", seeds=(0, 1, 2), steps=50, compatible=lambda trial: True)
    found = explain_alone(list(changes), curing=trials, runner=Runner(overflows))
    assert {name: str(count) for name, count in found.cures.singles.items()} == {
        "lr / 10": "3/3", "norms": "3/3", "more latents": "0/3"
    }  # fmt: skip
    assert "Cured by lr / 10 (3/3) or norms (3/3), any one of these alone." in verdict(found, 50)
    hopeless = explain_alone(list(changes), curing=trials, runner=Runner(lambda *_: 0.0))
    assert not hopeless.cures.sets


def test_the_threshold_is_the_middle_and_absent_within_the_spread_of_seeds():
    failing, healthy = [Outcome(0.0), Outcome(-0.1)], [Outcome(-0.8), Outcome(-0.9)]
    assert OutcomeThreshold.between(failing, healthy).loss == pytest.approx(-0.45)
    assert OutcomeThreshold.between(failing, [Outcome(-0.12), Outcome(-0.9)]) is None
    assert OutcomeThreshold.between([Outcome(0.0)], [Outcome(-0.04)]) is None
    assert OutcomeThreshold.between([Outcome(0.3)], [Outcome(-0.2)]).loss == pytest.approx(-0.1)
    assert OutcomeThreshold.between([Outcome(0.0)], [Outcome(math.inf)]) is None


def test_what_has_no_effect_with_most_seeds_is_replayed_no_more():
    def trials(base, other):
        changes = {name: {name: other[name]} for name in ("lr", "norm", "latents")}
        return settings_trials(base, changes, "with", seeds=(0, 1, 2), steps=50, compatible=lambda trial: True)

    def differ(**options):
        runner = Runner(overflows)
        both = {"curing": trials(FAILING, HEALTHY), "breaking": trials(HEALTHY, FAILING)}
        return explain_difference(["lr", "norm", "latents"], **both, runner=runner, **options), runner

    found, runner = differ(early=True)
    whole, all_run = differ()
    assert {name: str(count) for name, count in found.cures.singles.items()} == {
        "lr": "3/3", "norm": "3/3", "latents": "0/2"
    }  # fmt: skip
    assert (found.cures.sets, found.breaks.sets) == (whole.cures.sets, whole.breaks.sets)
    assert len(runner.done) < len(all_run.done)
