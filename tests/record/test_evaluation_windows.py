"""What a watched evaluation leaves as it was, and where its windows begin and end."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import edgeglass_diag as eg
from tests.helpers.evaluated import LAST, Contrastive, hooks_in_place, values, watched
from tests.helpers.evaluating import Program, pairs, pictures


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
