"""Evaluation passes: found without being told, a bounded number of them, and never where they are part of a step."""

import copy
import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import edgeglass_diag as eg
from edgeglass_diag.schedule import Schedule
from tests.helpers.evaluating import (
    HEALTHY,
    STEPS,
    Adversarial,
    AdversarialAside,
    Baseline,
    BaselineFirst,
    Criterion,
    Energy,
    Forgets,
    Graphs,
    InEvaluationMode,
    Pair,
    Program,
    contrast,
    pairs,
    pictures,
)

LAST = STEPS - 1
"""The last step, to which the evaluation behind it belongs."""


def watched(folder, program, **options):
    """A program after it ran under a watch, and its run."""
    with eg.watch(out=folder, **options):
        done = program.run()
    return done, eg.load(folder)


def values(run, signal):
    """Readings of a signal by step and site."""
    frame = run.frame(signal)
    return {(step, site): value for step, site, value in zip(frame.step, frame.site, frame.value, strict=True)}


def hooks_in_place():
    """Whether global hooks of modules, or function modes, are in place."""
    return bool(nn.modules.module._global_forward_hooks) or torch._C._len_torch_function_stack() > 0


class Contrastive(Program):
    """CLIP's loss at two widths."""

    def __init__(self, **options):
        super().__init__(**options)
        self.model = Pair()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def loss(self, step):
        return contrast(*self.model(*pairs(step)))

    def evaluate(self):
        with torch.no_grad():
            for seed in range(900, 903):
                self.evaluated.append(contrast(*self.model(*pairs(seed))).item())


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


class Attends(nn.Module):
    """Attention that torch fuses in evaluation; pads are zeros only where it does."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

    def forward(self, tokens, padding=None):
        return self.head(self.encoder(tokens, src_key_padding_mask=padding).mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_all_passes_of_a_long_evaluation_give_the_numbers_of_an_unwatched_one(tmp_path):
    def run():
        torch.manual_seed(0)
        model, tokens = Attends(), torch.randn(4, 6, 16)
        optimizer, padding = torch.optim.SGD(model.parameters(), lr=1e-3), torch.arange(6).expand(4, 6) > 3
        given = []
        for _ in range(2):
            model.train()
            model(tokens).pow(2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            model.eval()
            with torch.no_grad():
                given += [model(tokens, padding) for _ in range(11)]
        return given

    plain = run()
    with eg.watch(out=tmp_path, every=1):
        watched_ones = run()
    assert all(map(torch.equal, plain, watched_ones))


@torch.no_grad()
def passes(model):
    for seed in range(20):
        model(pictures(seed)[0])


@pytest.mark.parametrize("at", [2, 11])
def test_an_evaluation_that_is_interrupted_leaves_nothing_on_the_model(tmp_path, at):
    program = Program()

    def interrupt(*_):
        calls.append(None)
        if len(calls) == at:
            raise KeyboardInterrupt

    with eg.watch(out=tmp_path, every=1):
        program.step(0)
        calls = []
        handle = program.model.stem.register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            passes(program.model)
        handle.remove()
        copy.deepcopy(program.model)
        for step in range(1, 4):
            program.step(step)
    assert not hooks_in_place()
    assert not program.model._forward_hooks
    told = values(eg.load(tmp_path), "loss/total")
    assert [told[step, ""] for step in range(4)] == pytest.approx(program.losses)


def test_nothing_of_the_last_evaluation_is_kept_when_the_watch_has_ended(tmp_path):
    program = Contrastive()
    with eg.watch(out=tmp_path, every=1) as watch:
        program.step(0)
        with torch.no_grad():
            embeddings = program.model(*pairs(900))[0]
            reference = weakref.ref(embeddings)
            del embeddings
    gc.collect()
    assert reference() is None
    assert watch.step == 1


def adversarial(folder, every):
    """Losses of a GAN's steps: the discriminator's, the generator's, and then a sample without gradients."""
    torch.manual_seed(0)
    generator, critic = nn.Linear(4, 8), nn.Linear(8, 1)
    first, second = (torch.optim.SGD(model.parameters(), lr=1e-3) for model in (critic, generator))
    with eg.watch(out=folder, every=every):
        for _ in range(40):
            real, noise = torch.randn(16, 8), torch.randn(16, 4)
            first.zero_grad()
            (critic(real).pow(2).mean() + critic(generator(noise).detach()).pow(2).mean()).backward()
            first.step()
            second.zero_grad()
            critic(generator(noise)).pow(2).mean().backward()
            second.step()
            with torch.no_grad():
                generator(noise)
    return values(eg.load(folder), "loss/total")


def test_a_window_is_not_begun_within_a_step_of_two_optimizers(tmp_path):
    whole, sparse = adversarial(tmp_path / "whole", 1), adversarial(tmp_path / "sparse", 1000)
    assert sparse == pytest.approx({at: value for at, value in whole.items() if at in sparse})


def test_metrics_of_numpy_are_no_part_of_the_next_step(tmp_path):
    class Metrics(Program):
        def batch(self, step):
            x, y = pictures(step)
            return next(iter(DataLoader([(each.numpy(), int(label)) for each, label in zip(x, y, strict=True)], 16)))

        def evaluate(self):
            self.model.eval()
            with torch.no_grad():
                x, y = pictures(900)
                self.evaluated.append(float((self.model(x).argmax(-1).numpy() == y.numpy()).mean()))
            self.model.train()

    _, run = watched(tmp_path, Metrics(), every=1)
    assert {step for step, _ in values(run, "evaluation/passes")} == {17, LAST}


def test_a_model_that_is_unfrozen_later_is_evaluated_from_then_on(tmp_path):
    class Unfrozen(Program):
        def __init__(self):
            super().__init__()
            self.model.requires_grad_(False)
            self.probe = nn.Linear(5, 5)
            self.optimizer = torch.optim.SGD([*self.model.parameters(), *self.probe.parameters()], lr=0.01)

        def loss(self, step):
            if step == 10:
                self.model.requires_grad_(True)
            x, y = self.batch(step)
            return F.cross_entropy(self.probe(self.model(x)), y)

        def run(self):
            for step in range(20):
                self.step(step)
                self.evaluate()
            return self

    _, run = watched(tmp_path, Unfrozen(), every=1)
    assert {step for step, _ in values(run, "evaluation/training_mode")} >= set(range(12, 20))
