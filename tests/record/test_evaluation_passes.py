"""Evaluation passes: found without being told, a bounded number of them, and never where they are part of a step."""

import copy
import gc
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.schedule import Schedule
from tests.helpers.evaluated import LAST, Contrastive, hooks_in_place, values, watched
from tests.helpers.evaluating import HEALTHY, STEPS, Forgets, Program, contrast, pairs, pictures
from tests.helpers.evaluating_otherwise import (
    Adversarial,
    AdversarialAside,
    Baseline,
    BaselineFirst,
    Criterion,
    Energy,
    Graphs,
    InEvaluationMode,
)


def test_a_window_that_begins_with_an_evaluation_is_recorded_with_both_losses(tmp_path):
    done, run = watched(tmp_path, Program())
    told = values(run, "evaluation/loss")
    assert {step for step, _ in told} == {17, LAST}
    assert told[17, "cross_entropy"] == pytest.approx(sum(done.evaluated[:4]) / 4)
    assert told[LAST, "cross_entropy"] == pytest.approx(sum(done.evaluated[4:]) / 4)
    assert values(run, "loss/total")[17, ""] == pytest.approx(done.losses[17])
    assert values(run, "evaluation/chance")[17, "cross_entropy"] == pytest.approx(math.log(5))
    assert set(values(run, "evaluation/training_mode").values()) == {0.0}
    assert LAST not in set(run.frame("loss/total").step)
    assert run.last_step == LAST


def test_losses_by_width_and_recalls_are_told_of_both_phases(tmp_path):
    done, run = watched(tmp_path, Contrastive())
    trained, told = values(run, "loss/width"), values(run, "evaluation/loss/width")
    pairs_of_sides = {"image.1[:4] x text[:4]", "image.1[:16] x text[:16]"}
    assert {site for _, site in told} == {site for _, site in trained} == pairs_of_sides
    assert sum(told[17, site] for site in pairs_of_sides) == pytest.approx(sum(done.evaluated[:3]) / 3)
    assert sum(trained[17, site] for site in pairs_of_sides) == pytest.approx(done.losses[17])
    expected = torch.zeros(2)
    for seed in range(900, 903):
        with torch.no_grad():
            image, text, _ = done.model(*pairs(seed))
        answers = (image @ text.T).argmax(1), (image @ text.T).argmax(0)
        expected += torch.tensor([(answer == torch.arange(16)).sum() for answer in answers])
    recalls, low, high = (values(run, f"evaluation/recall/{name}") for name in ("r1", "low", "high"))
    sides = (LAST, "image.1[:16]"), (LAST, "text[:16]")
    assert [recalls[side] for side in sides] == pytest.approx((expected / 48).tolist())
    assert all(0 <= low[side] < recalls[side] <= high[side] + 1e-9 <= 1 + 1e-9 for side in sides)
    assert values(run, "evaluation/recall/chance")[sides[0]] == pytest.approx(1 / 16)
    assert values(run, "evaluation/recall/rows")[sides[0]] == 48


def test_labels_that_are_no_partners_have_no_recall(tmp_path):
    class Shifted(Contrastive):
        def evaluate(self):
            with torch.no_grad():
                image, text, scale = self.model(*pairs(900))
                F.cross_entropy(scale * image @ text.T, torch.arange(16).roll(1))

    _, run = watched(tmp_path, Shifted())
    assert all(math.isnan(value) for value in values(run, "evaluation/recall/r1").values())


def test_a_bounded_number_of_passes_is_looked_at_and_no_mode_is_in_place_in_the_others(tmp_path):
    seen = []

    class Long(Program):
        def evaluate(self):
            handle = self.model.stem.register_forward_pre_hook(
                lambda *_: seen.append(torch._C._len_torch_function_stack() > 0)
            )
            with torch.no_grad():
                for seed in range(20):
                    self.model(pictures(seed)[0])
            handle.remove()

    done, run = watched(tmp_path, Long())
    assert seen == 2 * (8 * [True] + 12 * [False])
    assert values(run, "evaluation/passes")[17, ""] == 8
    assert values(run, "loss/total")[17, ""] == pytest.approx(done.losses[17])
    assert not done.model._forward_hooks


def test_a_window_without_evaluation_has_nothing_in_place_in_its_passes(tmp_path):
    seen = {}

    class Looking(Program):
        def loss(self, step):
            self.model.stem.register_forward_pre_hook(lambda *_: seen.update({step: hooks_in_place()}))
            loss = super().loss(step)
            self.model.stem._forward_pre_hooks.clear()
            return loss

        def evaluate(self):
            pass

    _, run = watched(tmp_path, Looking())
    recorded = set(run.frame("loss/total").step)
    assert {step for step, in_place in seen.items() if in_place} == recorded
    assert 17 not in recorded


def test_of_evaluations_at_each_step_every_tenth_is_recorded_beside_the_schedule(tmp_path):
    class Often(Program):
        def step(self, step):
            super().step(step)
            self.evaluate()

    _, run = watched(tmp_path, Often(), every=1000)
    beside = set(run.frame("loss/total").step) - set(filter(Schedule(every=1000), range(STEPS)))
    assert beside == {11, 21}


def test_a_frozen_tower_that_runs_before_hides_no_evaluation(tmp_path):
    tower = nn.Linear(10, 10).requires_grad_(False)

    class Towered(Contrastive):
        def words(self, seed):
            shown, words = pairs(seed)
            with torch.no_grad():
                return shown, tower(words)

        def loss(self, step):
            return contrast(*self.model(*self.words(step)))

        def evaluate(self):
            with torch.no_grad():
                self.evaluated.append(contrast(*self.model(*self.words(900))).item())

    done, run = watched(tmp_path, Towered())
    told = values(run, "evaluation/loss/width")
    assert sum(value for (step, _), value in told.items() if step == 17) == pytest.approx(done.evaluated[0])
    assert not tower._forward_hooks


def test_a_tower_that_is_called_alone_has_the_pictures_of_the_whole_model(tmp_path):
    class Alone(Contrastive):
        def evaluate(self):
            with torch.no_grad():
                self.model.image(pairs(900)[0])

    _, run = watched(tmp_path, Alone())
    assert {site for _, site in values(run, "evaluation/mean")} == {"input0"}


def test_what_is_generated_step_by_step_is_no_input_of_an_evaluation(tmp_path):
    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, noisy):
            return self.layer(noisy)

    class Generating(Program):
        def __init__(self):
            super().__init__()
            self.model = Denoiser()
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

        def loss(self, step):
            x, _ = pictures(step)
            return F.mse_loss(self.model(x + 0.1), x)

        @torch.no_grad()
        def evaluate(self):
            x = 50 * pictures(900)[0]
            for _ in range(3):
                x = self.model(x)

    _, run = watched(tmp_path, Generating())
    assert values(run, "evaluation/passes")[17, ""] == 3
    assert "evaluation/mean" not in run.signals
    assert "EG613" not in {finding.code for finding in run.findings}


@pytest.mark.parametrize("kind", HEALTHY, ids=lambda kind: kind.__name__)
def test_evaluations_and_parts_of_steps_are_left_as_they_are_and_silent(tmp_path, kind):
    expected = kind().run()
    done, run = watched(tmp_path, kind(), rules=["EG220", "EG605", "EG612", "EG613", "EG905"])
    assert (done.losses, done.evaluated) == (expected.losses, expected.evaluated)
    states = (one.model.state_dict().values() for one in (done, expected))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert ("evaluation/passes" in run.signals) == bool(done.evaluated)
    assert run.findings == []


def test_a_loss_that_is_a_module_is_told_of_both_phases(tmp_path):
    done, run = watched(tmp_path, Criterion())
    told = values(run, "evaluation/loss")
    assert told[17, "CrossEntropyLoss.cross_entropy"] == pytest.approx(sum(done.evaluated[:4]) / 4)
    assert values(run, "evaluation/passes")[17, ""] == 4


@pytest.mark.parametrize("batches", [4, 300])
def test_an_evaluation_with_gradients_is_no_part_of_the_training_and_a_fact(tmp_path, batches):
    done, run = watched(tmp_path, Graphs(batches=batches), rules=["EG220", "EG605", "EG612", "EG611"])
    told, seen = values(run, "evaluation/loss"), min(batches, 8)
    assert told[17, "CrossEntropyLoss.cross_entropy"] == pytest.approx(sum(done.evaluated[:seen]) / seen)
    assert values(run, "loss/total")[17, ""] == pytest.approx(done.losses[17])
    assert values(run, "loss/value")[17, "cross_entropy"] == pytest.approx(done.losses[17])
    assert values(run, "data/samples")[17, "input0"] == 16
    assert not [site for site in run.sites if site.path == "window"]
    assert values(run, "evaluation/training_mode")[17, ""] == 0
    (finding,) = run.findings
    assert (finding.code, finding.severity, finding.since) == ("EG611", eg.Severity.INFO, 17)
    assert f"{seen} passes of which were looked at" in finding.message


class SwitchesToEvaluationMode(InEvaluationMode):
    since = 12


@pytest.mark.parametrize(
    ("kind", "lost"),
    [(InEvaluationMode, set()), (SwitchesToEvaluationMode, {12}), (Adversarial, {1}), (AdversarialAside, {1})],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_steps_in_evaluation_mode_are_training_from_their_second_window_on(tmp_path, kind, lost):
    expected = kind().run()
    done, run = watched(tmp_path, kind(), every=1)
    assert done.losses == expected.losses
    assert set(run.frame("loss/total").step) == set(range(STEPS)) - lost
    assert "evaluation/passes" not in run.signals
    assert "EG611" not in {finding.code for finding in run.findings}


def test_an_evaluation_that_differentiates_is_none(tmp_path):
    done, run = watched(tmp_path, Energy(), every=1)
    assert set(run.frame("loss/total").step) == set(range(STEPS)) - {17}
    assert values(run, "loss/total")[18, ""] == pytest.approx(done.losses[18])
    assert "evaluation/passes" not in run.signals


@pytest.mark.parametrize("kind", [Baseline, BaselineFirst])
def test_an_evaluation_before_the_first_step_stands_at_it(tmp_path, kind):
    gc.collect()  # an optimizer that is left would be taken for that of this training
    done, run = watched(tmp_path, kind())
    told = values(run, "evaluation/loss")
    assert told[0, "cross_entropy"] == pytest.approx(sum(done.evaluated[:4]) / 4)
    assert told[17, "cross_entropy"] == pytest.approx(sum(done.evaluated[4:8]) / 4)
    assert values(run, "loss/total")[0, ""] == pytest.approx(done.losses[0])


def test_a_frozen_copy_that_is_asked_before_there_is_an_optimizer_is_no_evaluation(tmp_path):
    class Asks(BaselineFirst):
        def run(self):
            self.teacher = copy.deepcopy(self.model)
            with torch.no_grad():
                self.teacher(pictures(900)[0])
            return Program.run(self)

    gc.collect()
    _, run = watched(tmp_path, Asks())
    assert 0 not in set(run.frame("evaluation/passes").step)


def test_a_watch_that_ends_leaves_no_hook(tmp_path):
    done, _ = watched(tmp_path, Forgets())
    assert not hooks_in_place()
    assert not done.model._forward_hooks
