"""Which interventions cure, from given outcomes: judged, ordered, marked and said."""

import math

import pytest

from edgeglass_diag.explanation import of_interventions
from edgeglass_diag.explanation.marking import mark_findings
from edgeglass_diag.explanation.of_interventions import explain_interventions
from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.program_trials import ProgramTrial, over_seeds
from edgeglass_diag.explanation.program_words import interventions_verdict
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.replaying.nominations import Nomination
from edgeglass_diag.replaying.plan import Plan

PLAN = Plan("script", "train.py", (), "", 60, folder="/")
SEEDS = range(3)
LR, COLD, CLIP, NORM = (
    Intervention("optimizer.lr", 0.1),
    Intervention("optimizer.lr", 0.01),
    Intervention("optimizer.clip", 1.0),
    Intervention("module.norm_before", None, "tower"),
)
COLLAPSE = Finding("EG301", "constant-embeddings", Severity.CRITICAL, "tower", 20, "Embeddings are constant")
ATTENTION = Finding("EG104", "attention-logits-explode", Severity.WARNING, "attention", 5, "Attention logits explode")
ILL = ("EG301", "EG104")


class Runner:
    """Replays whose outcome is a function of the interventions and the seed; None for one that says nothing."""

    is_budget_spent = False

    def __init__(self, outcome):
        self._outcome, self.done, self.asked = outcome, {}, []

    def run(self, trials):
        found = {}
        for trial in trials:
            self.asked.append((trial.label, trial.seed))
            made = {each.label for each in trial.plan.interventions} - {"optimizer.lr=1"}
            outcome = self._outcome(made, trial.seed)
            if outcome is not None:
                self.done[trial.key] = trial, outcome
                found[trial.key] = outcome
        return found


@pytest.fixture
def tried(monkeypatch):
    """Return a function that explains outcomes with the nominations LR, COLD, CLIP for EG301 and NORM for EG104."""
    monkeypatch.setattr(of_interventions, "losses_of", lambda folder: {0: 1.0})
    nominations = [Nomination((each,), (COLLAPSE,)) for each in (LR, COLD, CLIP)] + [Nomination((NORM,), (ATTENTION,))]
    monkeypatch.setattr(of_interventions, "nominate", lambda findings: nominations)

    def explain(outcome):
        runner = Runner(outcome)
        runner.run(over_seeds(ProgramTrial(PLAN), SEEDS))
        found = explain_interventions(PLAN, [COLLAPSE, ATTENTION], seeds=SEEDS, runner=runner)
        return found, interventions_verdict(found, 60), {m.code: m for m in mark_findings(found)}, runner

    return explain


def outcomes(**cures):
    """Return outcomes in which the named interventions reach a loss without findings, and others stay at chance."""
    names = {"lr": LR, "cold": COLD, "clip": CLIP, "norm": NORM}

    def outcome(made, seed):
        losses = [loss for name, loss in cures.items() if names[name].label in made]
        return Outcome(min(losses) + 0.01 * seed, steps=60) if losses else Outcome(0.0, steps=60, codes=ILL)

    return outcome


def test_the_best_cure_leads_and_what_does_not_cure_is_counted(tried):
    found, verdict, marks, runner = tried(outcomes(lr=-0.6, cold=-0.9))
    assert verdict.startswith("Cured by learning rate x 0.01 (3/3): after 60 steps the loss is at 89.0% below chance")
    assert "Cured as well by learning rate x 0.1 (3/3)." in verdict
    assert "Not by: gradients clipped to norm 1 (0/2), LayerNorm put before tower (0/2)." in verdict
    assert (marks["EG301"].mark, marks["EG301"].by) == (Mark.CONFIRMED, "learning rate x 0.1 cures (3/3)")
    assert marks["EG104"].mark is Mark.NOT_ASKED
    assert not any("dropout" in label for label, _ in runner.asked)  # what the findings nominate has cured
    assert found.noise == 0.0


def test_a_cure_that_is_far_from_the_best_is_none(tried):
    _, verdict, _, _ = tried(outcomes(lr=-0.2, cold=-0.9))
    assert "as well" not in verdict
    assert "learning rate x 0.1 (0/3)" in verdict


def test_a_finding_that_stays_is_no_cure(tried):
    def outcome(made, seed):
        return Outcome(-0.9 if LR.label in made else 0.0, steps=60, codes=("EG301",))

    _, verdict, marks, _ = tried(outcome)
    assert verdict.startswith("No change cures")
    assert marks["EG301"].mark is Mark.NOT_ASKED
    assert "it stays with learning rate x 0.1" in marks["EG301"].by


def test_answers_at_chance_are_no_cure_however_the_loss_falls(tried):
    def outcome(made, seed):
        loss = -0.4 if CLIP.label in made else -0.9 if LR.label in made else 0.0
        return Outcome(loss, 0.9 if LR.label in made else 0.03, 60, () if made else ILL, accuracy_bound=0.05)

    _, verdict, _, _ = tried(outcome)
    assert verdict.startswith("Cured by learning rate x 0.1 (3/3)")

    def hidden(made, seed):
        return Outcome(-0.4 if CLIP.label in made else 0.0, 0.03, 60, () if made else ILL, accuracy_bound=0.05)

    _, verdict, _, _ = tried(hidden)
    assert "Only hides it (the loss falls, the answers stay at chance): gradients clipped to norm 1." in verdict


def test_a_finding_that_goes_without_effect_is_refuted(tried):
    def outcome(made, seed):
        if LR.label in made:
            return Outcome(-0.9, steps=60)
        return Outcome(0.0, steps=60, codes=("EG301",) if NORM.label in made else ILL)

    _, _, marks, _ = tried(outcome)
    assert marks["EG301"].mark is Mark.CONFIRMED
    assert marks["EG104"].mark is Mark.REFUTED
    assert marks["EG104"].by == "LayerNorm put before tower: it is gone, and the loss is no better"


def test_a_finding_that_goes_with_a_somewhat_better_loss_is_not_refuted(tried):
    def outcome(made, seed):
        loss = -0.9 if LR.label in made else -0.2 if NORM.label in made else 0.0
        return Outcome(loss, steps=60, codes=() if made else ILL)

    _, _, marks, _ = tried(outcome)
    assert (marks["EG104"].mark, marks["EG104"].by) == (
        Mark.NOT_ASKED,
        "somewhat better with LayerNorm put before tower",
    )


def test_a_slower_cure_with_more_answers_right_than_wrong_is_one(tried):
    def outcome(made, seed):
        best, slow = LR.label in made, NORM.label in made
        accuracy = 0.9 if best or slow else 0.02
        return Outcome(-0.9 if best else -0.3 if slow else 0.0, accuracy, 60, () if made else ILL, "", 0.05)

    _, verdict, marks, _ = tried(outcome)
    assert "Cured as well by LayerNorm put before tower (3/3)" in verdict
    assert marks["EG104"].mark is Mark.CONFIRMED


def test_two_causes_are_found_together(tried):
    def outcome(made, seed):
        both = {LR.label, NORM.label} <= made
        return Outcome(-0.9 if both else 0.0, steps=60, codes=() if both else ILL)

    _, verdict, marks, _ = tried(outcome)
    assert verdict.startswith("Cured by LayerNorm put before tower and learning rate x 0.1 only together (3/3)")
    assert {mark.mark for mark in marks.values()} == {Mark.CONFIRMED}


def test_changes_that_could_not_be_made_say_nothing(tried):
    def outcome(made, seed):
        return None if CLIP.label in made else outcomes(lr=-0.9)(made, seed)

    found, verdict, _, _ = tried(outcome)
    assert found.found.cures.singles[CLIP.label] is None
    assert "Nothing to change or failed: gradients clipped to norm 1." in verdict


def test_what_nothing_nominated_cures_is_looked_for_in_general(tried):
    _, verdict, _, runner = tried(lambda made, seed: Outcome(-0.9 if "dropout.off" in made else 0.0, steps=60))
    assert verdict.startswith("Cured by no dropout in the model (3/3)")
    assert ("no dropout in the model", 2) in runner.asked


def test_a_program_that_learns_is_said_to_learn(tried):
    _, verdict, _, _ = tried(lambda made, seed: Outcome(-0.8, steps=60))
    assert verdict.startswith("The program learns: after 60 steps its loss is at 80.0% below chance.")


def test_a_cure_on_which_seeds_disagree_is_said_to_be_one(tried):
    def outcome(made, seed):
        return Outcome(-0.9 if LR.label in made and seed else 0.0, steps=60, codes=() if LR.label in made else ILL)

    _, verdict, _, _ = tried(outcome)
    assert "Seeds disagree about learning rate x 0.1" in verdict


def test_noise_of_equal_replays_is_the_least_difference_that_counts(monkeypatch, tried):
    monkeypatch.setattr(of_interventions, "losses_of", lambda folder: {0: float(len(folder))})

    def outcome(made, seed):
        return Outcome(-0.3 if LR.label in made else 0.0, steps=60, codes=() if made else ILL, folder="x" * len(made))

    found, verdict, _, _ = tried(outcome)
    assert (found.noise, verdict[:6]) == (0.0, "Cured ")

    def noisy(made, seed, calls=[]):  # noqa: B006
        calls.append(made)
        placebo = len(calls) == 4
        return Outcome(-0.35 if placebo else outcome(made, seed).loss, steps=60, folder="y" * len(calls))

    found, verdict, _, _ = tried(noisy)
    assert found.noise == pytest.approx(0.35)
    assert verdict.startswith("No change cures")


def test_a_loss_that_is_not_finite_is_cured_by_a_finite_one(tried):
    def outcome(made, seed):
        return Outcome(-0.5, steps=60) if LR.label in made else Outcome(math.inf, steps=60, codes=ILL)

    _, verdict, _, _ = tried(outcome)
    assert "instead of a loss that is not finite (3/3)" in verdict
