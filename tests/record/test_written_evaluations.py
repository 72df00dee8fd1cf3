"""Losses and recalls of evaluations that are written by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import edgeglass_diag as eg
from tests.helpers.evaluating import Pair, Program, contrast, pairs, pictures
from tests.record.test_evaluation_passes import LAST, values


def watched(folder, program):
    with eg.watch(out=folder, rules=[]):
        program.run()
    return eg.load(folder)


def own(logits):
    return torch.arange(len(logits))


ONE_LABEL = {
    "gather": lambda z, y: -z.log_softmax(-1).gather(1, y[:, None]).mean(),
    "gather by keywords": lambda z, y: -F.log_softmax(z, dim=1).gather(dim=1, index=y.unsqueeze(1)).squeeze(1).mean(),
    "take_along_dim": lambda z, y: -torch.take_along_dim(torch.log_softmax(z, 1), y[:, None], 1).mean(),
    "index": lambda z, y: -z.log_softmax(1)[own(z), y].mean(),
    "index by a range": lambda z, y: -z.log_softmax(1)[range(len(z)), y].mean(),
    "nll_loss": lambda z, y: F.nll_loss(F.log_softmax(z, 1), y),
    "one-hot": lambda z, y: -(F.one_hot(y, z.shape[1]).float() * z.log_softmax(1)).sum(1).mean(),
    "softmax and log": lambda z, y: -z.softmax(1).log().gather(1, y[:, None]).mean(),
    "logsumexp": lambda z, y: (torch.logsumexp(z, 1) - z.gather(1, y[:, None]).squeeze(1)).mean(),
    "logsumexp last": lambda z, y: (-z[own(z), y] + z.logsumexp(dim=-1)).mean(),
    "logits less logsumexp": lambda z, y: -(z - torch.logsumexp(z, 1, keepdim=True)).gather(1, y[:, None]).mean(),
    "exp, sum and log": lambda z, y: -(z - z.exp().sum(1, keepdim=True).log()).gather(1, y[:, None]).mean(),
}


class Written(Program):
    """The evaluation writes its loss out."""

    def evaluate(self):
        self.model.eval()
        with torch.no_grad():
            for seed in (900, 901):
                x, y = pictures(seed)
                logits = self.model(x)
                self.right = (logits.argmax(1) == y).float().mean().item()
                self.evaluated.append(self.form(logits, y).item())
        self.model.train()


@pytest.mark.parametrize("form", ONE_LABEL.values(), ids=ONE_LABEL)
def test_a_loss_that_picks_one_label_of_each_row_is_told(tmp_path, form):
    done = Written(form=form)
    run = watched(tmp_path, done)
    told = {step: value for (step, _), value in values(run, "evaluation/loss").items()}
    assert told == pytest.approx({17: sum(done.evaluated[:2]) / 2, LAST: sum(done.evaluated[2:]) / 2}, rel=1e-5)
    assert list(values(run, "evaluation/chance").values()) == pytest.approx([math.log(5)] * 2)
    assert len(values(run, "evaluation/accuracy")) == 2


NO_LABELS = {
    "entropy": lambda z, y: -(z.softmax(1) * z.log_softmax(1)).sum(1).mean(),
    "logsumexp alone": lambda z, y: torch.logsumexp(z, 1).mean(),
    "logits of others": lambda z, y: (torch.logsumexp(z, 1) - (2 * z)[own(z), y]).mean(),
}


@pytest.mark.parametrize("form", NO_LABELS.values(), ids=NO_LABELS)
def test_what_has_no_labels_is_no_loss(tmp_path, form):
    assert "evaluation/loss" not in watched(tmp_path, Written(form=form)).signals


class Contrastive(Program):
    """A contrast of two sides, at one width."""

    def __init__(self, **options):
        super().__init__(**options)
        self.model = Pair()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def logits(self, seed):
        image, text, scale = self.model(*pairs(seed))
        return scale * image @ text.T

    def loss(self, step):
        return contrast(*self.model(*pairs(step)))

    def evaluate(self):
        with torch.no_grad():
            self.evaluated += [self.form(self.logits(seed)).item() for seed in (900, 901)]


DIAGONALS = {
    "diag": lambda z: -z.log_softmax(1).diag().mean() - z.T.log_softmax(1).diag().mean(),
    "other dimension": lambda z: -z.log_softmax(1).diagonal().mean() - z.log_softmax(0).diagonal().mean(),
    "logsumexp": lambda z: (z.logsumexp(1) - z.diag()).mean() + (z.logsumexp(0) - z.diag()).mean(),
    "transpose": lambda z: (-z.diag() + z.logsumexp(1)).mean() + (-z.diag() + z.T.logsumexp(1)).mean(),
}


@pytest.mark.parametrize("form", DIAGONALS.values(), ids=DIAGONALS)
def test_both_directions_of_a_contrast_are_told(tmp_path, form):
    done = Contrastive(form=form)
    run = watched(tmp_path, done)
    told = [value for (step, _), value in values(run, "evaluation/loss").items() if step == LAST]
    assert len(told) == 2
    assert sum(told) == pytest.approx(sum(done.evaluated[2:]) / 2, rel=1e-5)
    assert {site for _, site in values(run, "evaluation/recall/r1")} == {"image.1[:16]", "text[:16]"}


RANKED = {
    "argmax": lambda s: (s.argmax(1) == own(s)).float().mean(),
    "topk": lambda s: (s.topk(5, dim=1).indices.cpu() == own(s)[:, None]).any(1).float().mean(),
    "argsort": lambda s: (torch.argsort(s, descending=True) == own(s).view(-1, 1)).float().argmax(1).eq(0).sum(),
    "ranks": lambda s: (s > s.diag()[:, None]).sum(1).eq(0).float().mean(),
    "numpy": lambda s: np.argsort(-s.cpu().numpy(), axis=1)[:, 0] == np.arange(len(s)),
}


class Retrieval(Contrastive):
    """Embeddings of more batches than are looked at are collected, and compared at the end."""

    batches = 12

    def evaluate(self):
        sides = [], []
        with torch.no_grad():
            for seed in range(900, 900 + self.batches):
                for side, values_ in zip(sides, self.model(*pairs(seed)), strict=False):
                    side.append(values_.cpu())
        image, text = (F.normalize(torch.cat(side), dim=-1) for side in sides)
        self.form(self.compared(image, text))

    def compared(self, image, text):
        self.table = image @ text.T
        return self.table


class Filled(Retrieval):
    """The same, in tensors that are there before."""

    def evaluate(self):
        image, text = torch.zeros(16 * self.batches, 16), torch.zeros(16 * self.batches, 16)
        with torch.no_grad():
            for number in range(self.batches):
                rows = slice(16 * number, 16 * number + 16)
                image[rows], text[rows], _ = self.model(*pairs(900 + number))
        self.form(self.compared(image, text))


COLLECTED = [(Retrieval, name) for name in RANKED] + [(Filled, "argmax")]


@pytest.mark.parametrize(("kind", "form"), COLLECTED, ids=[f"{kind.__name__}-{form}" for kind, form in COLLECTED])
def test_a_recall_that_is_counted_by_hand_is_told_of_all_samples(tmp_path, kind, form):
    done = kind(form=RANKED[form])
    run = watched(tmp_path, done)
    recalls, rows = values(run, "evaluation/recall/r1"), 16 * done.batches
    for site, dim in (("image.1[:16]", 1), ("text[:16]", 0)):
        assert recalls[LAST, site] == pytest.approx((done.table.argmax(dim) == own(done.table)).double().mean().item())
    assert set(values(run, "evaluation/recall/rows").values()) == {rows}
    assert values(run, "evaluation/recall/chance")[LAST, "text[:16]"] == pytest.approx(1 / rows)
    assert values(run, "evaluation/passes")[LAST, ""] == 8


class MoreCandidates(Retrieval):
    def compared(self, image, text):
        return image[:32] @ text.T


class ZeroShot(Contrastive):
    """As many classes as a batch has pictures."""

    def evaluate(self):
        with torch.no_grad():
            _, classes, _ = self.model(*pairs(800))
            for seed in (900, 901):
                image, _, _ = self.model(*pairs(seed))
                table = image @ classes.T
                table.softmax(-1).numpy()
                (table.argmax(1) == own(table).roll(3)).float().mean()


@pytest.mark.parametrize("done", [MoreCandidates(form=RANKED["argmax"]), ZeroShot()], ids=["candidates", "zero-shot"])
def test_rows_that_are_no_partners_have_no_recall(tmp_path, done):
    run = watched(tmp_path, done)
    told = values(run, "evaluation/recall/r1") if "evaluation/recall/r1" in run.signals else {}
    assert all(math.isnan(value) for value in told.values())


def test_of_many_rows_a_part_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeglass_diag.record.evaluation_recalls._MOST_PRODUCTS", 192 * 64)
    done = Retrieval(form=RANKED["argmax"])
    run = watched(tmp_path, done)
    right = (done.table.argmax(1) == own(done.table)).double()[::3].mean().item()
    assert values(run, "evaluation/recall/r1")[LAST, "image.1[:16]"] == pytest.approx(right)
    assert set(values(run, "evaluation/recall/rows").values()) == {64}
    assert values(run, "evaluation/recall/chance")[LAST, "text[:16]"] == pytest.approx(1 / 192)
