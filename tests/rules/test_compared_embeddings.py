"""Collapses, targets and pairings where no cross-entropy over products of embeddings tells."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.collapse import AssignmentsCollapsed, ComparedEmbeddingsCollapsed
from edgeglass_diag.rules.pairings import SelfAmongCandidates, WrongPairing
from edgeglass_diag.rules.targets import ComparedWithItself, PredictionsConstant, TargetsOutOfRange

RULES = (
    ComparedEmbeddingsCollapsed, AssignmentsCollapsed, PredictionsConstant, TargetsOutOfRange, ComparedWithItself,
    WrongPairing, SelfAmongCandidates,
)  # fmt: skip
BATCH, WIDTH = 32, 16


def found_by(folder, loss, *, steps=61, model=None, rate=1e-2):
    """Train on fresh samples with ``loss(model, samples)``; return the findings by code."""
    torch.manual_seed(0)
    model = nn.Linear(WIDTH, WIDTH) if model is None else model()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with eg.watch(model, optimizer, out=folder, rules=[rule() for rule in RULES]):
        for _ in range(steps):
            loss(model, torch.randn(BATCH, WIDTH)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return {finding.code: finding for finding in eg.load(folder).findings}


def view(samples):
    return samples + 0.3 * torch.randn_like(samples)


def rough(samples):
    """A view that has little to do with the other one."""
    return samples + 2 * torch.randn_like(samples)


def drawn_together(model, samples):
    left, right = model(rough(samples)), model(rough(samples))
    return (1 - F.cosine_similarity(left, right)).mean()


def in_turn_apart(model, samples):
    left, right = (F.normalize(model(view(samples)), dim=-1) for _ in range(2))
    logits = (left @ right.T / 0.2).exp()
    return -(logits.diagonal() / logits.sum(1)).log().mean()


def shrinking(model, samples):
    left, right = model(rough(samples)), model(rough(samples))
    return (left - right).pow(2).sum(1).mean() + left.pow(2).mean()


def kept_wide(model, samples):
    left, right = model(view(samples)), model(view(samples))
    return (left - right).pow(2).sum(1).mean() + 25 * F.relu(1 - left.std(0)).mean()


def triplets_at_margin(model, samples):
    anchor = model(samples)
    return F.triplet_margin_loss(anchor, anchor.roll(1, 0), anchor.roll(2, 0), margin=1.0) + 30 * anchor.square().mean()


def triplets_that_learn(model, samples):
    anchor, positive = model(view(samples)), model(view(samples))
    return F.triplet_margin_loss(anchor, positive, positive.roll(1, 0), margin=1.0)


class Small(nn.Linear):
    """A head that ends in one place: its bias is large, its weights shrink."""

    def __init__(self):
        super().__init__(WIDTH, WIDTH)
        nn.init.normal_(self.bias, std=3.0)


@pytest.mark.parametrize(
    ("loss", "model", "rate"),
    [(drawn_together, Small, 5e-3), (shrinking, None, 5e-3), (triplets_at_margin, None, 5e-3)],
    ids=["cosines", "distances", "margin"],
)
def test_a_collapse_without_a_cross_entropy_is_named(loss, model, rate, tmp_path):
    assert "EG309" in found_by(tmp_path / "run", loss, model=model, steps=201, rate=rate)


@pytest.mark.parametrize("loss", [in_turn_apart, kept_wide, triplets_that_learn])
def test_embeddings_that_are_kept_apart_are_silent(loss, tmp_path):
    assert found_by(tmp_path / "run", loss) == {}


class Faint(nn.Linear):
    """Logits that begin even."""

    def __init__(self):
        super().__init__(WIDTH, WIDTH)
        nn.init.normal_(self.weight, std=1e-2)


def assigned(model, samples, *, target):
    logits = model(view(samples))
    return -(target(logits) * F.log_softmax(logits, dim=-1)).sum(-1).mean()


def test_assignments_that_tell_nothing_of_the_sample_are_named(tmp_path):
    def even(logits):
        return torch.full_like(logits, 1 / WIDTH)

    finding = found_by(tmp_path / "run", lambda m, x: assigned(m, x, target=even), steps=151)["EG310"]
    assert finding.evidence["prototypes"] == pytest.approx(WIDTH, rel=0.01)
    assert finding.fix.startswith("Lower the temperature")


def test_assignments_that_tell_of_the_sample_later_were_collapsed_for_a_time(tmp_path):
    calls = []

    def late(logits):
        calls.append(len(logits))
        if len(calls) <= 100:
            return torch.full_like(logits, 1 / WIDTH)
        return ((logits - logits.mean(0)).detach() / 0.1).softmax(-1)

    found = found_by(tmp_path / "run", lambda m, x: assigned(m, x, target=late), steps=301, model=Faint)
    assert found["EG310"].severity is Severity.INFO
    assert found["EG310"].learned_since > 100


def test_assignments_that_differ_are_silent(tmp_path):
    def sharpened(logits):
        return ((logits - logits.mean(0)).detach() / 0.1).softmax(-1)

    assert found_by(tmp_path / "run", lambda m, x: assigned(m, x, target=sharpened)) == {}


class BatchMean(nn.Linear):
    """Averages over the batch and not over the tokens."""

    def __init__(self):
        super().__init__(WIDTH, WIDTH)

    def forward(self, values):
        return super().forward(values).mean(0, keepdim=True).expand(len(values), -1)


def regression(model, samples, *, last=torch.clone, targets=lambda samples: samples.flip(1)):
    return F.mse_loss(last(model(samples)), targets(samples))


def test_outputs_that_do_not_vary_while_targets_do_are_named(tmp_path):
    def plain():
        return nn.Linear(WIDTH, WIDTH)

    assert set(found_by(tmp_path / "ill", regression, model=BatchMean, steps=121)) == {"EG311"}
    assert found_by(tmp_path / "healthy", regression, model=plain, steps=121) == {}


class MeanAtFirst(BatchMean):
    """Averages over the batch for a time."""

    calls = 0

    def forward(self, values):
        self.calls += 1
        return super().forward(values) if self.calls <= 121 else nn.Linear.forward(self, values)


def test_outputs_that_vary_later_were_constant_for_a_time(tmp_path):
    found = found_by(tmp_path / "run", regression, model=MeanAtFirst, steps=221)
    assert found["EG311"].severity is Severity.INFO
    assert found["EG311"].learned_since > 121
    assert "that has passed" in found["EG311"].message


@pytest.mark.parametrize(
    ("last", "within"), [(nn.Sigmoid(), torch.sigmoid), (nn.Tanh(), torch.tanh), (nn.ReLU(), torch.abs),
                         (lambda values: F.normalize(values, dim=-1), lambda values: F.normalize(values, dim=-1))],
    ids=["sigmoid", "tanh", "relu", "normalised"],
)  # fmt: skip
def test_targets_beyond_the_range_of_the_output_are_named(last, within, tmp_path):
    ill = found_by(tmp_path / "ill", lambda m, x: regression(m, x, last=last), steps=4)
    assert set(ill) == {"EG312"}
    healthy = found_by(tmp_path / "healthy", lambda m, x: regression(m, x, last=last, targets=within), steps=4)
    assert healthy == {}


def test_a_loss_of_a_tensor_and_itself_is_named(tmp_path):
    def itself(model, samples):
        made = model(samples)
        return F.mse_loss(made, made.detach())

    def two_views(model, samples):
        return F.mse_loss(model(samples), model(view(samples)).detach())

    assert set(found_by(tmp_path / "ill", itself, steps=4)) == {"EG313"}
    assert found_by(tmp_path / "healthy", two_views, steps=4) == {}


def two_views_of(model, samples, positives, *, masked=torch.inf, taken_out=False):
    """The contrast of SimCLR: all first views, then all second ones."""
    embeddings = F.normalize(model(torch.cat([view(samples), view(samples)])), dim=-1)
    row, diagonal = torch.arange(2 * BATCH), torch.eye(2 * BATCH, dtype=torch.bool)
    logits, partner = embeddings @ embeddings.T / 0.2, positives(row)
    if taken_out:
        return F.cross_entropy(logits[~diagonal].view(2 * BATCH, -1), partner - (partner > row).long())
    return F.cross_entropy(logits.masked_fill(diagonal, -masked) if masked else logits, partner)


def opposite(row):
    return (row + BATCH) % (2 * BATCH)


@pytest.mark.parametrize("taken_out", [False, True], ids=["diagonal masked", "diagonal taken out"])
@pytest.mark.parametrize(
    "positives", [lambda row: row ^ 1, lambda row: 2 * BATCH - 1 - row, lambda row: (row + BATCH + 1) % (2 * BATCH)],
    ids=["neighbours", "reversed", "off by one"],
)  # fmt: skip
def test_labels_that_pair_strangers_are_named_with_the_pairing_that_is_alike(positives, taken_out, tmp_path):
    found = found_by(tmp_path / "run", lambda m, x: two_views_of(m, x, positives, taken_out=taken_out), steps=21)
    assert set(found) == {"EG314"}
    assert found["EG314"].evidence["pairing"] == BATCH
    assert f"i + {BATCH}" in found["EG314"].fix


@pytest.mark.parametrize("taken_out", [False, True], ids=["diagonal masked", "diagonal taken out"])
def test_labels_that_pair_partners_are_silent(taken_out, tmp_path):
    assert found_by(tmp_path / "run", lambda m, x: two_views_of(m, x, opposite, taken_out=taken_out), steps=21) == {}


def test_a_rolled_second_view_is_named_without_labels(tmp_path):
    def rolled(model, samples, *, by):
        return F.mse_loss(model(view(samples)), model(view(samples.roll(by, 0))).detach())

    ill = found_by(tmp_path / "ill", lambda m, x: rolled(m, x, by=1), steps=21)
    assert ill["EG314"].evidence["pairing"] == 1
    assert found_by(tmp_path / "healthy", lambda m, x: rolled(m, x, by=0), steps=21) == {}


def test_a_sample_among_its_own_candidates_is_named(tmp_path):
    found = found_by(tmp_path / "run", lambda m, x: two_views_of(m, x, opposite, masked=0), steps=4)
    assert set(found) == {"EG315"}


def test_labels_of_classes_are_no_pairing(tmp_path):
    def classes(model, samples):
        return F.cross_entropy(F.normalize(model(samples), dim=-1) @ samples.T, torch.arange(BATCH) // 2)

    assert found_by(tmp_path / "run", classes, steps=21) == {}
