"""Evaluations in the wrong mode or with other pictures, and programs that must not be told of either."""

import pytest
import torch

import edgeglass_diag as eg
from edgeglass_diag.records import Reading, Severity, Window
from edgeglass_diag.rules import Engine
from edgeglass_diag.rules.evaluation_inputs import EvaluationInputsDiffer
from edgeglass_diag.rules.evaluation_modes import EvaluationKeepsGraphs, NormMovedByEvaluation
from edgeglass_diag.signals import find
from edgeglass_diag.sites import BatchSite
from tests.helpers.evaluating import FORGETFUL, Program, Unnormalised, pictures
from tests.helpers.evaluating_otherwise import Graphs

RULES = (NormMovedByEvaluation, EvaluationInputsDiffer, EvaluationKeepsGraphs)


def found(folder, program):
    """Findings about the evaluation of a program, by code."""
    with eg.watch(out=folder, rules=["EG220", "EG605", *(rule() for rule in RULES)]):
        program.run()
    with eg.load(folder) as run:
        return {finding.code: finding for finding in run.findings}


@pytest.mark.parametrize("kind", FORGETFUL, ids=lambda kind: kind.__name__)
def test_an_evaluation_in_training_mode_is_told_with_its_layers_and_step(tmp_path, kind):
    told = found(tmp_path, kind())
    assert told.keys() == {"EG605", "EG612"}
    assert (told["EG612"].site, told["EG612"].since) == ("norm", 17)
    assert "norm takes the statistics of the batches of an evaluation at step 17" in told["EG612"].message


def test_pictures_without_the_normalisation_of_the_training_are_told(tmp_path):
    told = found(tmp_path, Unnormalised())
    assert told.keys() == {"EG613"}
    assert (told["EG613"].site, told["EG613"].since) == ("input0", 25)


def test_gradients_that_are_on_are_a_fact(tmp_path):
    told = found(tmp_path, Graphs())
    assert told.keys() == {"EG611"}
    assert (told["EG611"].severity, told["EG611"].since) == (eg.Severity.INFO, 17)
    assert "the model is called by an evaluation at step 25 with gradients on" in told["EG611"].message


class Augmented(Program):
    """Mixup, jitter of brightness and contrast, and erased squares, in training alone; values end as pixels do."""

    def batch(self, step):
        x, y = pictures(step)
        drawn = torch.Generator().manual_seed(step)
        share = torch.rand(len(x), 1, 1, 1, generator=drawn)
        x = share * x + (1 - share) * x.flip(0)
        x = x * (0.6 + 0.8 * torch.rand(len(x), 1, 1, 1, generator=drawn))
        x = (x + 0.4 * torch.randn(len(x), 1, 1, 1, generator=drawn)).clamp(-2.2, 2.7)
        x[:, :, :3, :3] = 0
        return x, y


class Masked(Program):
    """Three of four patches are set to zero in training."""

    def batch(self, step):
        x, y = pictures(step)
        kept = (torch.rand(len(x), 1, 8, 8, generator=torch.Generator().manual_seed(step)) < 0.2).float()
        return x * kept, y


@pytest.mark.parametrize("kind", [Augmented, Masked], ids=lambda kind: kind.__name__)
def test_heavy_augmentation_is_no_other_preprocessing(tmp_path, kind):
    assert found(tmp_path, kind()) == {}


def judged(evaluated, *, samples=64, trained=(0.0, 1.0, -2.1, 2.6), answers=1):
    """Whether pictures of an evaluation, (mean, std, min, max), are told of."""
    engine = Engine([EvaluationInputsDiffer()])
    rows = [("data", trained), ("evaluation", evaluated)]
    readings = [
        Reading(5, "images", find(f"{family}/{name}"), (value,))
        for family, values in rows
        for name, value in zip(("mean", "std", "min", "max"), values, strict=True)
    ]
    readings.append(Reading(5, "images", find("evaluation/samples"), (samples,)))
    readings += [Reading(5, "", find("evaluation/answers"), (1,))] * answers
    engine.feed(Window(5, tuple(readings), (BatchSite(path="images", shape=(3, 8, 8)),)))
    assert not engine.failures
    return bool(engine.findings)


@pytest.mark.parametrize(
    ("evaluated", "told"),
    [
        ((0.45, 0.25, 0.0, 1.0), True),  # not normalised
        ((115.0, 64.0, 0.0, 255.0), True),  # nor divided by 255
        ((-0.05, 0.5, -1.0, 1.0), True),  # normalised by 0.5 and 0.5
        ((1.9, 1.0, 0.0, 4.5), True),  # divided by the deviation, and the mean not taken away
        ((0.05, 1.07, -2.0, 2.7), False),  # CLIP's mean and deviation for ImageNet's
        ((-0.6, 0.45, -2.1, 2.6), False),  # dark and flat pictures
        ((1.2, 1.0, -2.1, 2.6), False),  # bright ones
        ((float("nan"), 1.0, -2.1, 2.6), False),
    ],
)
def test_another_range_of_values_is_told_and_other_content_is_not(evaluated, told):
    assert judged(evaluated) == told


@pytest.mark.parametrize(("factor", "told"), [(2.4, False), (4.0, True), (1 / 2.4, False), (1 / 4.0, True)])
def test_values_that_nothing_bounds_are_told_of_from_further_away(factor, told):
    evaluated = (0.1, 1.7 * factor, -7.5 * factor, 7.7 * factor)
    assert judged(evaluated, trained=(0.0, 1.7, -7.5, 7.7)) == told


def test_a_few_pictures_tell_nothing():
    assert judged((0.45, 0.25, 0.0, 1.0), samples=16)
    assert not judged((0.45, 0.25, 0.0, 1.0), samples=15)


def test_pictures_of_passes_that_answer_nothing_are_samples_or_made_to_take_the_time():
    assert not judged((0.45, 0.25, 0.0, 1.0), answers=0)
    assert not judged((0.0, 0.0, 0.0, 0.0))


class Samples(Program):
    """A generator that is always in training mode draws samples for the eye."""

    @torch.no_grad()
    def evaluate(self):
        self.model(pictures(900)[0]).clamp(0, 1)


def test_samples_of_a_generator_that_move_batch_norm_are_a_fact(tmp_path):
    told = found(tmp_path, Samples())
    assert {code: finding.severity for code, finding in told.items() if code != "EG605"} == {"EG612": Severity.INFO}
