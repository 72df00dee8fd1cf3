"""Several processes: losses, gradients and trained weights are those of one process with the whole batch."""

import json

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import normalize

from edgeglass_diag.store import load
from edgeglass_models.batches import micro_batches
from edgeglass_models.checkpoint import latest_checkpoint, read_checkpoint
from edgeglass_models.losses import clip_loss
from edgeglass_models.recipes.jobs import load_trained, replay
from edgeglass_models.train import train
from tests.helpers.recipe_ranks import (
    losses_of_shares,
    meeting,
    pairs,
    recipe,
    run_together,
    splits,
    train_in_ranks,
)

PARTS = {"accumulate": 2}
DDP = {**PARTS, "devices": 2}
FSDP = {**DDP, "strategy": "fsdp"}


def state(folder):
    """Return weights and moments of the last checkpoint; a sharded scale has a dimension."""
    tensors, step, _ = read_checkpoint(latest_checkpoint(folder))
    assert step == 12
    return {name: value.reshape(-1) for name, value in tensors.items() if name != "rng"}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: name + text)


@pytest.fixture(scope="module")
def trained(command_server, tmp_path_factory):
    """One process, and two with DDP, with FSDP2, and from the checkpoints of others."""
    folder = tmp_path_factory.mktemp("trained")
    whole = train(recipe(train=PARTS), splits(), folder / "one")
    file = str(folder / "one" / "checkpoints" / "step-000005.safetensors")
    sharded = str(folder / "fsdp" / "checkpoints" / "step-000005")
    wanted = {
        "ddp": (DDP, ""), "fsdp": (FSDP, ""), "one-fsdp": (FSDP, file), "fsdp-ddp": (DDP, sharded),
        "fsdp-fsdp": (FSDP, sharded),
    }  # fmt: skip
    assert run_together(command_server, train_in_ranks, str(folder), wanted, folder=folder) == []
    train(recipe(train=PARTS), splits(), folder / "fsdp-one", resume=folder / sharded)
    return folder, whole


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_two_processes_with_half_precision_learn_as_one_does(command_server, tmp_path, precision):
    """Rounding to 8 bits depends on the order of a sum, so that losses alone can be compared."""
    whole = train(recipe(train={**PARTS, "precision": precision}), splits(), tmp_path / "one")
    wanted = {name: ({**kind, "precision": precision}, "") for name, kind in (("ddp", DDP), ("fsdp", FSDP))}
    assert run_together(command_server, train_in_ranks, str(tmp_path), wanted, folder=tmp_path) == []
    for name in wanted:
        last = json.loads((tmp_path / name / "history.jsonl").read_text().splitlines()[-2])
        assert last["val/loss"] == pytest.approx(whole.val_loss, rel=0.01)


def test_gathered_losses_and_gradients_are_those_of_the_whole_batch(command_server, tmp_path):
    assert run_together(command_server, losses_of_shares, str(tmp_path), folder=tmp_path) == []
    found = torch.load(tmp_path / "losses.pt")
    image, text, pictures, captions = pairs()
    scale = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    loss = clip_loss(normalize(image(pictures), dim=-1), normalize(text(captions), dim=-1), scale)
    loss.backward()
    expected = [loss.detach(), image.weight.grad, text.weight.grad, scale.grad]
    for value, other in zip(expected, found["gathered"], strict=True):
        torch.testing.assert_close(other, value, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["detached"][0], expected[0], rtol=0, atol=1e-6)
    assert (found["detached"][1] - expected[1]).abs().max() > 1e-2  # what a gather without gradient costs


def test_shares_of_a_batch_make_up_the_loss():
    image, text = (normalize(torch.randn(6, 5), dim=-1) for _ in range(2))
    parts = [clip_loss(image, text, 10.0, slice(first, first + 2)) for first in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), clip_loss(image, text, 10.0))


@pytest.mark.parametrize("name", ["ddp", "fsdp", "one-fsdp", "fsdp-ddp", "fsdp-fsdp", "fsdp-one"])
def test_two_processes_end_as_one(trained, name):
    folder, _ = trained
    assert_same(state(folder / "one"), state(folder / name))


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_rank_0_writes_one_history_of_all_pairs(trained, name):
    folder, whole = trained
    one, other = (
        [json.loads(line) for line in (folder / run / "history.jsonl").read_text().splitlines()]
        for run in ("one", name)
    )
    assert [row.keys() for row in one] == [row.keys() for row in other]
    for row, same in zip(one, other, strict=True):
        assert same == pytest.approx(row, rel=1e-5)
    assert other[-1]["i2t/R@1"] == pytest.approx(whole.i2t["R@1"])


def test_a_sharded_checkpoint_has_a_part_of_each_process(trained):
    folder, _ = trained
    place = latest_checkpoint(folder / "fsdp")
    assert latest_checkpoint(place) == place
    assert {file.name for file in place.iterdir()} == {
        "checkpoint.json", *(f"shard-0000{rank}-model-00001-of-00001.safetensors" for rank in (1, 2)),
    }  # fmt: skip
    (place / "checkpoint.json").rename(place / "taken")
    try:
        with pytest.raises(ValueError, match="no such checkpoint"):
            read_checkpoint(place)
        assert latest_checkpoint(folder / "fsdp").name == "step-000010"
    finally:
        (place / "taken").rename(place / "checkpoint.json")


def test_ranks_read_their_own_pairs_alone():
    class Asked:
        def __init__(self):
            self.rows = []

        def __len__(self):
            return 96

        def with_captions(self, rows, turns):
            self.rows.append(rows)
            return rows, turns

    def rows(settings, rank):
        asked = Asked()
        list(micro_batches(recipe(train=settings), asked, 4, rank))
        return asked.rows

    whole, shares = rows(PARTS, 0), [rows(DDP, rank) for rank in (0, 1)]
    assert [len(part) for part in shares[0]] == [8, 8]
    for part, *own in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat(own), part)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 3}, r"batch_size 32 must be a multiple of accumulate 1 x devices 3 x num_nodes 1"),
        ({"devices": 2, "num_nodes": 4, "accumulate": 8}, r"accumulate 8 x devices 2 x num_nodes 4"),
        ({"strategy": "zero"}, r"should be 'auto', 'ddp' or 'fsdp'"),
        ({"strategy": "fsdp"}, r"strategy fsdp shards over at least 2 processes, got devices 1 x num_nodes 1"),
        ({"precision": "8-true"}, r"should be '32-true', 'bf16-mixed' or 'bf16-true'"),
        ({"devices": 0}, r"should be greater than 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message) as caught:
        recipe(train=settings)
    assert len(caught.value.errors()) == 1


def test_a_replay_trains_in_one_process():
    settings = recipe(train=FSDP).model_dump(mode="json")
    replayed = replay(settings, steps=3, seed=1).recipe.train
    assert (replayed.devices, replayed.strategy, replayed.batch_size) == (1, "auto", 32)


SHORT = ["data.train=64", "data.val=32", "data.test=32", "train.batch_size=32", "train.max_steps=3", "model.layers=1"]


def short(*settings):
    return [word for setting in (*SHORT, *settings) for word in ("--set", setting)]


def steps_of(folder):
    with load(folder) as run:
        ranks = {rank: one.series("loss/total", "").steps.tolist() for rank, one in run.ranks.items()}
        return run.status, run.header["world_size"], ranks


@pytest.mark.usefixtures("feature_cache")
def test_the_command_starts_the_second_process_and_both_are_watched(command, tmp_path):
    settings = short("train.devices=2", "train.strategy=fsdp")
    done = command("run", "perceiver", *settings, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["status"] == "finished"
    status, world, ranks = steps_of(tmp_path / "run")
    assert (status, world, ranks) == ("finished", 2, {0: [0, 1, 2], 1: [0, 1, 2]})
    model, trained = load_trained(tmp_path / "run")
    assert trained.train.strategy == "fsdp"
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.long
@pytest.mark.usefixtures("feature_cache")
@pytest.mark.parametrize("nodes", [False, True])
def test_processes_of_others_meet_in_the_folder_of_rank_0(command_server, tmp_path, nodes):
    """As torchrun starts them, and by hand on two machines, which have ranks of their own."""
    from tests.helpers.command_server import command_line

    settings = short("train.num_nodes=2" if nodes else "train.devices=2")
    port, copies = None, []
    for rank in range(2):
        env, port = meeting(rank, port=port)
        if nodes:
            env = {name: value for name, value in env.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
            env["NODE_RANK"] = str(rank)
        (tmp_path / f"printed-{rank}").mkdir()
        out = str(tmp_path / f"asked-{rank}")
        line = ["run", "baseline", *settings, "--out", out]
        copies.append(command_server.start(command_line, *line, place=tmp_path / f"printed-{rank}", env=env))
    for copy in copies:
        assert copy.wait() == 0, (copy.place / "stderr").read_text()
    assert steps_of(tmp_path / "asked-0") == ("finished", 2, {0: [0, 1, 2], 1: [0, 1, 2]})
    assert not (tmp_path / "asked-1").exists()


@pytest.mark.long
@pytest.mark.usefixtures("feature_cache")
def test_all_ranks_stop_after_the_same_step(command, tmp_path):
    settings = short("train.devices=2", "train.max_steps=40", "data.train=256", "train.epochs=8")
    done = command("run", "perceiver", *settings, "--stop-on", "EG104", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    with load(tmp_path / "run") as run:
        assert {one.status for one in run.ranks.values()} == {"stopped"}
        assert len({one.record.taken for one in run.ranks.values()}) == 1


@pytest.mark.long
def test_another_number_of_processes_than_was_started_is_one_clear_error(command, tmp_path):
    env, _ = meeting(0, world=2)
    env |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    done = command("run", "baseline", *short("train.devices=4"), "--out", tmp_path / "run", env=env)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("edgeglass-diag: train.devices=4, train.num_nodes=1: ")
