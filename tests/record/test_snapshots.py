"""Embeddings kept for pictures: which, when, and what becomes of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.pair_samples import MOST_PAIRS as PAIRS
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.snapshots import MARKS
from edgeglass_diag.records import UsageError
from edgeglass_diag.schedule import Schedule


class Sides(nn.Module):
    def __init__(self, names, width=4):
        super().__init__()
        self.names = names
        for name in names:
            setattr(self, name, nn.Linear(3, width))

    def forward(self, *inputs):
        return [getattr(self, name)(x) for name, x in zip(self.names, inputs, strict=True)]


def step_of(model, seen, *, pairs=6, order=(0, 1), widths=(4,), rows=None):
    sides = [side[:rows] if i else side for i, side in enumerate(model(torch.randn(pairs, 3), torch.randn(pairs, 3)))]
    seen.append([F.normalize(side, dim=-1).detach() for side in sides])
    loss = 0
    for width in widths:
        left, right = (F.normalize(sides[i][:, :width], dim=-1) for i in order)
        logits = 5 * (left @ right.T)
        loss = loss + F.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1])
    loss.backward()


def train(steps, names=("image", "text"), schedule=None, **how):
    kept, seen = [], []
    with Recorder(schedule or Schedule(every=10), lambda window: None, embeddings=kept.append):
        model = Sides(names)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            step_of(model, seen, **how)
            optimizer.step()
            optimizer.zero_grad()
    return kept, seen


def test_embeddings_are_kept_at_the_marks_and_of_the_last_recorded_step():
    kept, seen = train(125)
    assert [pairs.step for pairs in kept] == [0, 10, 20, 50, 100, 120]
    for pairs in kept:
        image, text = pairs.resolve()
        assert torch.equal(torch.from_numpy(image), seen[pairs.step][0])
        assert torch.equal(torch.from_numpy(text), seen[pairs.step][1])


def test_a_mark_that_is_not_recorded_is_kept_at_the_next_step_that_is():
    kept, _ = train(60, schedule=lambda step: step % 7 == 0)
    assert [pairs.step for pairs in kept] == [0, 14, 21, 56]
    assert len(MARKS) <= 12


@pytest.mark.parametrize(("names", "swapped"), [(("image", "text"), False), (("caption", "visual"), True)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_image_stands_first_whatever_the_order_of_the_product(names, swapped, order):
    kept, seen = train(1, names, order=order)
    image, text = (torch.from_numpy(side) for side in kept[0].resolve())
    expected = seen[0][::-1] if swapped else seen[0]
    assert torch.equal(image, expected[0])
    assert torch.equal(text, expected[1])


def test_the_widest_product_is_kept_and_at_most_256_pairs():
    kept, seen = train(1, widths=(2, 4, 3), pairs=PAIRS + 40)
    image, _ = kept[0].resolve()
    assert torch.equal(torch.from_numpy(image), seen[0][0][:PAIRS])


def test_what_is_no_set_of_pairs_is_not_kept():
    assert train(12, pairs=6, rows=4)[0] == []


def test_a_watched_run_has_them_in_its_folder(tmp_path):
    seen = []
    with eg.watch(out=tmp_path / "run", every=5):
        model = Sides(("image", "text"))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(13):
            step_of(model, seen)
            optimizer.step()
            optimizer.zero_grad()
    with eg.load(tmp_path / "run") as run:
        assert run.embedding_steps() == [0, 10, 12]
        image, text = run.embeddings(12)
        assert image.tolist() == seen[12][0].tolist()
        assert text.tolist() == seen[12][1].tolist()
        with pytest.raises(UsageError, match="has no embeddings of step 11; it has those of: 0, 10, 12"):
            run.embeddings(11)
        elsewhere = (tmp_path / "run" / "embeddings" / "step-0.safetensors").rename(tmp_path / "mine.safetensors")
        (tmp_path / "run" / "embeddings" / "step-0.safetensors").symlink_to(elsewhere)
        with pytest.raises(UsageError, match="has no embeddings of step 0; it has those of: 10, 12"):
            run.embeddings(0)
        (tmp_path / "run" / "embeddings" / "step-10.safetensors").write_bytes(b"broken")
        with pytest.raises(UsageError, match=r"step-10.safetensors cannot be read as embeddings"):
            run.embeddings(10)


def fail_after(steps, folder):
    with eg.watch(out=folder):
        model = Sides(("image", "text"))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            step_of(model, [])
            optimizer.step()
        raise RuntimeError("mine")


def test_a_training_that_fails_leaves_its_last_embeddings(tmp_path):
    with pytest.raises(RuntimeError, match="mine"):
        fail_after(5, tmp_path / "run")
    with eg.load(tmp_path / "run") as run:
        assert run.embedding_steps() == [0, 4]
