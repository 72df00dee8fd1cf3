"""Programs that are not ours, unmodified: what is recorded of them is what they did."""

from __future__ import annotations

import csv
import importlib
import re
import sys
from pathlib import Path

import pytest

from edgeglass_diag.sites import EmbeddingSite
from edgeglass_diag.store import load
from tests.helpers.program_runs import Programs

pytestmark = pytest.mark.slow

# A user's torchvision loads by itself; beside a CPU-only torch the surroundings of the program have to help it.
SURROUNDINGS = """
    import sys

    class BeforeTorchvision:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                sys.meta_path.remove(self)
                from edgeglass_models.torchvision_operators import define_missing_operators
                define_missing_operators()

    sys.meta_path.insert(0, BeforeTorchvision())
"""

HAND_WRITTEN = """
    import argparse, math
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Attention(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            b, n, w = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
            logits = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(w // self.heads)
            mixed = torch.matmul(logits.softmax(dim=-1), v)
            return self.out(mixed.transpose(1, 2).reshape(b, n, w))

    class Tower(nn.Module):
        def __init__(self, embed, width=16, layers=2):
            super().__init__()
            self.embed = embed
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
            self.attentions = nn.ModuleList(Attention(width, 4) for _ in range(layers))
            self.project = nn.Linear(width, 8, bias=False)

        def forward(self, x):
            x = self.embed(x)
            for norm, attention in zip(self.norms, self.attentions):
                x = x + attention(norm(x))
            return F.normalize(self.project(x.mean(1)), dim=-1)

    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.vision, self.text = Tower(nn.Linear(12, 16)), Tower(nn.Embedding(50, 16))
            self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(self, pixels, tokens):
            return self.logit_scale.exp() * self.vision(pixels) @ self.text(tokens).T

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    torch.manual_seed(0)
    model = Clip()
    optimizer = torch.optim.AdamW(model.parameters(), parser.parse_args().lr)
    for step in range(6):
        pixels, tokens = torch.randn(8, 9, 12), torch.randint(0, 50, (8, 7))
        scale = model.logit_scale.exp().item()
        logits, labels = model(pixels, tokens), torch.arange(8)
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"Scale: {scale:.4f} Loss: {loss.item():.4f}")
    print("parameters:", *(name for name, _ in model.named_parameters()))
"""

TRAINER = """
    import torch
    from torch.utils.data import Dataset
    from transformers import CLIPConfig, CLIPModel, Trainer, TrainingArguments

    class Pairs(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, index):
            draw = torch.Generator().manual_seed(index)
            ids = torch.cat([torch.randint(3, 90, (7,), generator=draw), torch.tensor([99])])
            return {"input_ids": ids, "pixel_values": torch.randn(3, 32, 32, generator=draw)}

    def collate(rows):
        parts = {name: torch.stack([row[name] for row in rows]) for name in ("input_ids", "pixel_values")}
        return {**parts, "attention_mask": torch.ones_like(parts["input_ids"]), "return_loss": True}

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"eos_token_id": 99, "bos_token_id": 98, "pad_token_id": 0}
    text = {**small, **special, "vocab_size": 100, "max_position_embeddings": 16}
    vision = {**small, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    arguments = TrainingArguments(
        "checkpoints", max_steps=6, per_device_train_batch_size=8, learning_rate=1e-3, logging_steps=1,
        save_strategy="no", report_to=[], use_cpu=True, remove_unused_columns=False, seed=0,
    )
    scales = []

    class Scales(Trainer):
        def training_step(self, model, *arguments, **keywords):
            scales.append(model.logit_scale.exp().item())
            return super().training_step(model, *arguments, **keywords)

    trainer = Scales(model=model, args=arguments, train_dataset=Pairs(), data_collator=collate)
    trainer.train()
    for scale, entry in zip(scales, trainer.state.log_history):
        print(f"Scale: {scale:.4f} Norm: {entry['grad_norm']:.4f} Loss: {entry['loss']:.4f}")
    print("parameters:", *(name for name, _ in model.named_parameters()))
"""


def watch(programs, *words):
    """Run with every window recorded; gives the record and what the program printed."""
    programs.write("surroundings/sitecustomize.py", SURROUNDINGS)
    path = ":".join([str(programs.folder / "surroundings"), *sys.path])
    # What other packages of the installation warn of at import is not what is tested.
    done = programs.watched(*words, own=("--every", "1"), env={"PYTHONPATH": path, "WANDB_MODE": "disabled"})
    assert done.returncode == 0, done.stderr[-3000:]
    return load(programs.folder / "run"), done.stdout + done.stderr


def printed(text, name):
    return [float(number) for number in re.findall(rf"{name}: (-?[\d.]+)", text)]


def check(run, *, batch, attentions, parameters, losses, scales):
    """The record against what the program says of itself, to the precision that it prints (four decimals)."""
    assert run.status == "finished"
    assert run.frame("loss/total").value.tolist() == pytest.approx(losses, abs=6e-5)
    (pair, *_) = dict.fromkeys(run.frame("embedding/scale").site)
    assert run.frame("embedding/scale", site=pair).value.tolist() == pytest.approx(scales, rel=1e-4)
    for signal in ("loss/rows", "loss/candidates"):
        frame = run.frame(signal)
        assert set(frame.value) == {batch}
        assert frame.groupby("step").size().tolist() == [2] * len(losses)
    sites = {site.path for site in run.sites if site.kind == "attention"}
    assert {site.rsplit(".attention", 1)[0] for site in sites} == set(attentions)
    entropy = run.frame("attention/entropy")
    assert set(entropy.site) == sites
    assert entropy.value.between(0, 1.0001).all()
    assert entropy.groupby("site").step.nunique().tolist() == [len(losses)] * len(sites)
    assert set(run.frame("gradient/norm").site) - {""} == set(parameters)
    assert {(site.path, site.coverage) for site in run.sites if not site.is_observed} == set()


def sides(run):
    return sorted(site.side for site in run.sites if isinstance(site, EmbeddingSite))


def test_attention_written_by_hand(programs):
    programs.write("train.py", HAND_WRITTEN)
    run, text = watch(programs, "train.py", "--lr", "2e-3")
    check(
        run,
        batch=8,
        attentions=[f"{tower}.attentions.{layer}" for tower in ("vision", "text") for layer in range(2)],
        parameters=text.split("parameters: ")[1].splitlines()[0].split(),
        losses=printed(text, "Loss"),
        scales=printed(text, "Scale"),
    )
    assert sides(run) == ["image", "text"]
    run.close()


@pytest.mark.long
def test_the_trainer_of_transformers(programs):
    programs.write("train.py", TRAINER)
    run, text = watch(programs, "train.py")
    towers = ("text_model", "vision_model")
    check(
        run,
        batch=8,
        attentions=[f"{tower}.encoder.layers.{layer}.self_attn" for tower in towers for layer in range(2)],
        parameters=text.split("parameters: ")[1].splitlines()[0].split(),
        losses=printed(text, "Loss"),
        scales=printed(text, "Scale"),
    )
    assert run.frame("gradient/norm", site="").value.tolist() == pytest.approx(printed(text, "Norm"), rel=1e-4)
    assert sides(run) == ["image", "text"]
    run.close()


MODEL = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def open_clip_run(tmp_path_factory, command_server):
    """A few steps of open_clip's own training on a CSV of rendered scenes."""
    programs = Programs(tmp_path_factory.mktemp("open_clip"), command_server)
    scenes(programs.folder, 32)
    words = (
        f"--train-data pairs.csv --dataset-type csv --csv-separator , --model {MODEL} --precision fp32 --batch-size 8"
    )
    words += " --workers 1 --epochs 1 --lr 1e-3 --warmup 2 --log-every-n-steps 1 --save-frequency 0 --device cpu"
    run, text = watch(programs, "-m", "open_clip_train.main", *words.split())
    with run:
        yield run, text


def scenes(folder: Path, count: int) -> None:
    from edgeglass_models.data.scenes import ScenePairs

    pairs = ScenePairs("train", count)
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filepath", "title"])
        for index in range(count):
            image, caption = pairs[index]
            image.save(folder / f"{index}.png")
            rows.writerow([f"{index}.png", caption])


def print_parameters(model: str) -> None:
    """Print the names of the parameters of a model of open_clip."""
    towers = importlib.import_module("edgeglass_models.towers")
    print(*(name for name, _ in towers.open_clip.create_model(model).named_parameters()))


def test_open_clips_own_training(open_clip_run, command_server):
    run, text = open_clip_run
    names = command_server.call(print_parameters, MODEL).stdout.split()
    check(
        run,
        batch=8,
        attentions=[f"visual.transformer.resblocks.{layer}.attn" for layer in range(12)]
        + [f"transformer.resblocks.{layer}.attn" for layer in range(10)],
        parameters=names,
        losses=printed(text, "Contrastive_loss"),
        scales=printed(text, "Logit Scale"),
    )


def test_open_clips_sides_are_told_apart(open_clip_run):
    assert sides(open_clip_run[0]) == ["image", "text"]
