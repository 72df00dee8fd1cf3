"""The ordinary loop: exact resume, accumulation, precision, watched and unwatched alike."""

import json

import pytest
import torch

from edgeglass_diag.watching import Watch
from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint
from edgeglass_models.train import train
from tests.helpers import recipe_ranks
from tests.helpers.recipe_ranks import recipe


@pytest.fixture
def splits():
    return recipe_ranks.splits()


def weights(folder):
    return {k: v for k, v in read_checkpoint(latest_checkpoint(folder))[0].items() if k.startswith("model.")}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(
    ("precision", "optim"),
    [
        ("32-true", {}),
        ("32-true", {"name": "sgd"}),
        *(pytest.param(name, {}, marks=pytest.mark.long) for name in ("bf16-mixed", "bf16-true")),
    ],
)
def test_a_resumed_run_ends_exactly_as_an_uninterrupted_one(splits, tmp_path, precision, optim):
    settings = recipe(train={"precision": precision}, optim=optim)
    whole = train(settings, splits, tmp_path / "whole")
    part = recipe(train={"precision": precision, "max_steps": 5}, optim={"horizon": 12, **optim})
    train(part, splits, tmp_path / "part")
    checkpoint = tmp_path / "part" / "checkpoints" / "step-000005.safetensors"
    resumed = train(settings, splits, tmp_path / "resumed", resume=checkpoint)
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))
    assert resumed.val_loss == whole.val_loss
    assert resumed.i2t == whole.i2t


@pytest.mark.parametrize("sections", [{}, {"train": {"accumulate": 2}}, {"train": {"precision": "bf16-mixed"}}])
def test_watched_and_unwatched_training_are_bit_identical(splits, tmp_path, sections):
    settings = recipe(**sections)
    plain = train(settings, splits, tmp_path / "plain")
    with Watch(tmp_path / "run", every=1) as watch:
        watched = train(settings, splits, tmp_path / "run", log=watch.log)
    assert watched == plain
    assert_equal(weights(tmp_path / "plain"), weights(tmp_path / "run"))
    lines = [(tmp_path / name / "history.jsonl").read_text() for name in ("plain", "run")]
    assert lines[0] == lines[1]


def test_the_history_holds_losses_and_recalls(splits, tmp_path):
    result = train(recipe(), splits, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val/loss" in row] == [2, 5, 8, 11]
    assert rows[-1]["i2t/R@1"] == result.i2t["R@1"]
    assert result.n == 50


def test_a_set_smaller_than_a_batch_is_refused(splits, tmp_path):
    with pytest.raises(ValueError, match="96 training pairs do not fill one batch of 128"):
        train(recipe(train={"batch_size": 128}), splits, tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="expected a checkpoint of this training loop"):
        read_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="has no checkpoint"):
        latest_checkpoint(tmp_path)
