"""Terms of a loss, each with its own chance level, from trainings with the fault and without it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.batches import Duplicates
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.loss import LossAtChance
from edgeglass_diag.rules.loss_terms import DoubleSoftmax
from edgeglass_diag.rules.term_levels import TermAtChance
from edgeglass_diag.rules.term_values import ConstantTerm, NegativeTerm, NotLogProbabilities
from tests.helpers.pieces import CONTRAST, TEXT, always
from tests.helpers.windows import batch, learning

RULES = (TermAtChance, NotLogProbabilities, NegativeTerm, ConstantTerm)
B = 32


class Model(nn.Module):
    """Two sides, a head over pairs of them, and one over classes."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(16, 32), nn.Linear(16, 32)
        self.match = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
        self.classes = nn.Linear(32, 5)

    def sides(self, noise=0.1):
        x = torch.randn(B, 16)
        sides = self.image(x), self.text(x + noise * torch.randn_like(x))
        return tuple(F.normalize(side, dim=-1) for side in sides)

    def classify(self, rows=4 * B):
        x = torch.randn(rows, 16)
        return self.classes(self.image(x)), x[:, :5].argmax(1)


def found(folder, loss_of, steps=80):
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rules = [kind() for kind in (*RULES, DoubleSoftmax, LossAtChance)]
    with eg.watch(model, optimizer, out=folder, every=5, rules=rules):
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    return eg.load(folder).findings


def codes(folder, loss_of, **how):
    return {finding.code for finding in found(folder, loss_of, **how) if finding.severity is not Severity.INFO}


def contrast(image, text):
    return F.cross_entropy(image @ text.T / 0.07, torch.arange(B))


def matching(*, shuffled=False, seen=True, binary=False):
    """A contrast, and a head that sees one match for two strangers."""

    def loss_of(model):
        image, text = model.sides()
        others = [text, text.roll(1, 0), text.roll(2, 0)] if seen else [text[torch.randint(0, B, (B,))]] * 3
        labels = torch.cat([torch.ones(B), torch.zeros(2 * B)])
        labels = labels[torch.randperm(3 * B)] if shuffled else labels
        logits = model.match(image.repeat(3, 1) * torch.cat(others) * 32**0.5)
        if binary:
            return contrast(image, text) + F.binary_cross_entropy_with_logits(logits[:, 0], labels)
        return contrast(image, text) + F.cross_entropy(logits, labels.long())

    return loss_of


@pytest.mark.parametrize("how", [{"shuffled": True}, {"seen": False}, {"shuffled": True, "binary": True}], ids=str)
def test_a_matching_head_that_knows_but_frequencies_is_named(tmp_path, how):
    (finding,) = found(tmp_path, matching(**how))
    assert (finding.code, finding.severity) == ("EG414", Severity.WARNING)
    assert "0.6365" in finding.message
    assert finding.fix.startswith("Check that the pairs that the matching head sees are in the order of its labels")


@pytest.mark.parametrize("binary", [False, True])
def test_a_matching_head_that_learns_is_silent(tmp_path, binary):
    assert codes(tmp_path, matching(binary=binary)) == set()


def labelled(loss_of, labels=None):
    def run(model):
        logits, classes = model.classify()
        return loss_of(logits, classes if labels is None else labels(classes))

    return run


def unequal(classes):
    return torch.multinomial(torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1]), len(classes), replacement=True)


def test_labels_that_say_nothing_of_the_inputs_leave_their_frequencies(tmp_path):
    assert "EG414" in codes(tmp_path / "ill", labelled(F.cross_entropy, unequal))
    assert codes(tmp_path / "healthy", labelled(F.cross_entropy)) == set()


@pytest.mark.parametrize("paired", [False, True])
def test_tokens_of_other_rows_are_said_in_the_words_of_a_captioner(tmp_path, paired):
    decoder = nn.Linear(16, 5)
    model = nn.ModuleDict({"decoder": decoder})
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    with eg.watch(model, optimizer, out=tmp_path, every=5, rules=[TermAtChance()]):
        for _ in range(80):
            x = torch.randn(B, 6, 16)
            tokens = x[..., :5].argmax(-1)
            tokens[:, 4:] = -1  # padding
            logits = decoder(x).flatten(0, 1)
            optimizer.zero_grad()
            F.cross_entropy(logits, (tokens if paired else tokens.roll(1, 0)).flatten(), ignore_index=-1).backward()
            optimizer.step()
    fixes = [one.fix for one in eg.load(tmp_path).findings if one.severity is not Severity.INFO]
    assert [("shifted by one position" in fix) for fix in fixes] == ([] if paired else [True])


def test_targets_as_uncertain_as_chance_leave_the_loss_at_chance(tmp_path):
    def softly(logits, classes):
        return F.cross_entropy(logits, (0.4 * F.one_hot(classes, 5)).softmax(-1))

    assert codes(tmp_path, labelled(softly)) == set()


def test_a_term_that_learns_late_is_a_fact():
    term = {
        "level": always(0.6365), "largest_label": always(2 / 3), "weight": always(1.0), "part": always(0.6),
        "rows": always(96), "candidates": always(2), "accuracy": lambda t: 2 / 3 if t < 150 else 0.9,
        "value": lambda t: 0.6365 if t < 150 else 0.3,
    }  # fmt: skip
    signals = {f"cross_entropy#1|loss/{name}": value for name, value in term.items()}
    history, said = History(), []
    for window in learning(**signals, **{"w|update/ratio": always(0.01)}):
        history.add(window)
        said.append([finding.severity for finding in TermAtChance().check(history)])
    assert [Severity.WARNING] in said
    assert said[-1] == [Severity.INFO]


def divergence(first, second, **how):
    return labelled(lambda logits, classes: F.kl_div(first(logits), second(F.one_hot(classes, 5) * 3.0), **how))


def log_softmax(logits):
    return logits.log_softmax(-1)


def softmax(logits):
    return logits.softmax(-1)


BATCH_MEAN = {"reduction": "batchmean"}
ILL = {
    "divergence of probabilities": (divergence(softmax, softmax, **BATCH_MEAN), {"EG415", "EG416"}),
    "likelihood of probabilities": (labelled(lambda x, y: F.nll_loss(softmax(x), y)), {"EG415", "EG416"}),
    "likelihood of logits": (labelled(F.nll_loss), {"EG415", "EG416"}),
    "softmax twice": (labelled(lambda x, y: F.cross_entropy(softmax(x), y)), {"EG405"}),
}
HEALTHY = {
    "divergence": divergence(log_softmax, softmax, **BATCH_MEAN),
    "divergence of two logarithms": divergence(log_softmax, log_softmax, log_target=True, **BATCH_MEAN),
    "likelihood": labelled(lambda x, y: F.nll_loss(log_softmax(x), y)),
    "likelihood of logarithms": labelled(lambda x, y: F.nll_loss((softmax(x) + 1e-8).log(), y)),
    "smoothed": labelled(lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)),
}


@pytest.mark.parametrize("name", ILL)
def test_a_loss_of_what_it_does_not_take_is_named(tmp_path, name):
    loss_of, expected = ILL[name]
    assert codes(tmp_path, loss_of, steps=20) == expected


@pytest.mark.parametrize("name", HEALTHY)
def test_the_same_losses_of_what_they_take_are_silent(tmp_path, name):
    assert codes(tmp_path, HEALTHY[name], steps=40) == set()


def beside(margin):
    """A contrast, and a hinge on the distance of pairs."""

    def loss_of(model):
        image, text = model.sides()
        hinge = F.l1_loss(F.relu((image - text).norm(dim=-1) - margin), torch.zeros(B))
        return contrast(image, text) + hinge

    return loss_of


def test_a_term_that_never_changes_is_named(tmp_path):
    assert codes(tmp_path / "ill", beside(margin=5.0), steps=40) == {"EG417"}
    assert codes(tmp_path / "healthy", beside(margin=0.0), steps=40) == set()


@pytest.mark.parametrize(
    ("repeated", "floor", "words"), [(0.875, 2.08, "Let each of the 8 different"), (0.5, 0.69, "Keep copies out")]
)
def test_the_floor_of_copies_is_told_and_its_fix_fits(repeated, floor, words):
    history = History()
    signals = {"repeated": repeated, "copy_floor": floor, "samples": 64.0}
    readings = {f"tokens|data/{name}": always(value) for name, value in signals.items()}
    targets = {"cross_entropy|loss/target_entropy": always(0.0)}
    for window in learning(more_sites=[batch("tokens")], **{**CONTRAST, **TEXT, **readings, **targets}):
        history.add(window)
    (finding,) = Duplicates().check(history)
    assert f"cannot fall below about {floor}" in finding.message
    assert finding.fix.startswith(words)


@pytest.mark.parametrize(("other", "said"), [(0.3, []), (0.0, ["EG502"])])
def test_whole_pairs_that_are_drawn_again_are_usual(other, said):
    history = History()
    inputs = {"tokens": 0.3, "words": other}
    readings = {f"{path}|{key.split('|')[1]}": value for path in inputs for key, value in TEXT.items()}
    readings |= {f"{path}|data/copy_floor": always(floor) for path, floor in inputs.items()}
    readings["cross_entropy|loss/target_entropy"] = always(0.0)
    for window in learning(more_sites=[batch(path) for path in inputs], **{**CONTRAST, **readings}):
        history.add(window)
    assert [finding.code for finding in Duplicates().check(history)] == said
