"""Programs that are killed and started again with their checkpoint: one run, and what did not come back is named."""

import json
import os
import signal

import pytest
import torch

from edgeglass_diag.store import load
from edgeglass_models.torchvision_operators import define_missing_operators

TRAINING = """
    import os, signal, sys
    import torch
    from torch import nn
    import torch.nn.functional as F

    killed_at, forget = int(sys.argv[1]), sys.argv[2:]
    torch.manual_seed(os.getpid())
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 30) * (1 - step / 300))
    parts, first = {"model": model, "optimizer": optimizer, "scheduler": scheduler}, 0
    if os.path.exists("kept.pt"):
        kept = torch.load("kept.pt")
        first = kept["step"]
        for name, part in parts.items():
            if name not in forget:
                part.load_state_dict(kept[name])
    for step in range(first, 130):
        generator = torch.Generator().manual_seed(step)
        labels = torch.randint(4, (32,), generator=generator)
        inputs = torch.randn(32, 16, generator=generator) + 2 * F.one_hot(labels, 16)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        scheduler.step()
        if (step + 1) % 25 == 0 and killed_at:
            torch.save({"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, "kept.pt")
        if step + 1 == killed_at:
            import json, pathlib, time
            noted = pathlib.Path("run/state.json")  # what has been recorded until then is written within a moment
            while json.loads(noted.read_text())["state"]["record"]["taken"] < step:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(programs):
    programs.write("train.py", TRAINING)
    assert programs.copied("train.py", "90").returncode == -signal.SIGKILL
    return programs


def test_a_killed_program_goes_on_in_the_same_run(killed):
    refused = killed.copied("train.py", "0")
    assert refused.returncode == 2
    assert "not empty" in refused.stderr
    done = killed.copied("train.py", "0", own=("--resume", "--json"))
    assert done.returncode == 0, done.stderr
    [summary] = json.loads(done.stdout)["runs"]
    [cut] = summary["resumed_at"]
    assert 80 < cut <= 91
    assert summary["status"] == "finished"
    assert summary["steps"] == cut + 130 - 75
    assert summary["findings"] == []
    with load(killed.folder / "run") as run:
        steps = run.series("loss/total", "").steps.tolist()
        assert steps == sorted(set(steps))
        assert steps[0] == 0
        assert {cut, cut + 1, cut + 10} <= set(steps)


def test_what_a_killed_program_forgets_is_named(killed):
    done = killed.copied("train.py", "0", "optimizer", "scheduler", own=("--resume",))
    assert done.returncode == 0, done.stderr
    with load(killed.folder / "run") as run:
        assert {finding.code for finding in run.findings} == {"EG240", "EG241"}
        [cut] = run.cuts
    said = done.stdout + done.stderr
    assert f"resumed at step {cut.step}" in said


RANKS = """
    import json, os, pathlib, signal, sys, time
    import torch, torch.distributed as dist
    from torch import nn
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    rank, killed_at = dist.get_rank(), int(sys.argv[1])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    if os.path.exists("kept.pt"):
        kept = torch.load("kept.pt")
        model.load_state_dict(kept["model"]), optimizer.load_state_dict(kept["optimizer"])
    wrapped = DistributedDataParallel(model)
    for step in range(60):
        generator = torch.Generator().manual_seed(1000 * rank + step + killed_at)
        labels = torch.randint(4, (32,), generator=generator)
        inputs = torch.randn(32, 16, generator=generator) + 2 * F.one_hot(labels, 16)
        optimizer.zero_grad()
        F.cross_entropy(wrapped(inputs), labels).backward()
        optimizer.step()
        if step + 1 == killed_at:
            if rank == 0:
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "kept.pt")
            dist.barrier()
            noted = [pathlib.Path("run/rank-%d/state.json" % one) for one in range(2)]
            while min(json.loads(one.read_text())["state"]["record"]["taken"] for one in noted) < step:
                time.sleep(0.01)
            dist.barrier()
            os._exit(0)
    del wrapped
"""


@pytest.mark.long
def test_the_ranks_go_on_together(programs):
    programs.write("ranks.py", RANKS)
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d",
                "--rdzv-endpoint", "localhost:0", "ranks.py")  # fmt: skip
    assert programs.watched(*launcher, "45").returncode == 0
    done = programs.watched(*launcher, "0", own=("--resume",))
    assert done.returncode == 0, done.stderr
    with load(programs.folder / "run") as run:
        assert list(run.ranks) == [0, 1]
        cuts = {rank: [cut.step for cut in one.cuts] for rank, one in run.ranks.items()}
        assert cuts[0] == cuts[1]
        assert 40 < cuts[0][0] <= 45
        steps = {rank: one.series("loss/total", "").steps.tolist() for rank, one in run.ranks.items()}
        assert steps[0] == steps[1]
        assert steps[0][-1] >= 100
        assert run.findings == []


@pytest.mark.long
@pytest.mark.parametrize("forgets", [False, True], ids=["whole", "without-optimizer"])
def test_a_trainer_of_transformers_goes_on(tmp_path, forgets):
    define_missing_operators()
    import transformers

    import edgeglass_diag as eg

    class Texts(torch.utils.data.Dataset):
        def __len__(self):
            return 256

        def __getitem__(self, index):
            generator = torch.Generator().manual_seed(index)
            label = index % 4
            ids = torch.randint(10, 50, (12,), generator=generator)
            ids[:6] = 2 + label
            return {"input_ids": ids, "labels": label}

    def train(steps, *, resume):
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            num_labels=4, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        arguments = transformers.TrainingArguments(
            str(tmp_path / "trainer"), max_steps=160, save_steps=60, per_device_train_batch_size=16, report_to=[],
            learning_rate=1e-3, warmup_steps=20, use_cpu=True, disable_tqdm=True, logging_steps=1000,
        )  # fmt: skip

        class Stop(transformers.TrainerCallback):
            def on_step_end(self, args, state, control, **parts):
                control.should_training_stop = state.global_step >= steps

        trainer = transformers.Trainer(
            transformers.BertForSequenceClassification(config), arguments, train_dataset=Texts(), callbacks=[Stop()]
        )
        with eg.watch(out=tmp_path / "run", resume=resume):
            trainer.train(resume_from_checkpoint=resume)

    train(90, resume=False)
    for kept in (tmp_path / "trainer").glob("checkpoint-*"):
        if int(kept.name.split("-")[1]) > 60:  # a stopped trainer saves as well; a killed one does not
            for file in kept.iterdir():
                file.unlink()
            kept.rmdir()
    if forgets:
        for name in ("optimizer.pt", "scheduler.pt"):
            (tmp_path / "trainer" / "checkpoint-60" / name).unlink()
    train(120, resume=True)
    with load(tmp_path / "run") as run:
        assert [cut.step for cut in run.cuts] == [90]
        codes = {finding.code for finding in run.findings}
        assert codes == ({"EG240", "EG241"} if forgets else set())


@pytest.mark.long
def test_a_recipe_goes_on_from_its_latest_checkpoint(programs):
    line = ("--set", "train.max_steps=60", "--set", "train.checkpoint_every=20", "--set", "train.validate_every=30")
    done = programs.server.run("run", "baseline", "--out", str(programs.folder / "run"), *line, cwd=programs.folder)
    assert done.returncode == 0, done.stderr
    (programs.folder / "run" / "checkpoints" / "step-000060.safetensors").unlink()
    again = ("run", "baseline", "--resume", "--json", "--out", str(programs.folder / "run"), *line)
    done = programs.server.run(*again, cwd=programs.folder, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    with load(programs.folder / "run") as run:
        assert [cut.step for cut in run.cuts] == [60]
        assert run.record.taken == 80
        assert {finding.code for finding in run.findings} & {"EG240", "EG241", "EG242", "EG243", "EG215"} == set()
