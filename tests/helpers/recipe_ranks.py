"""Trainings of recipes, and losses, in two processes that torch's environment variables bring together."""

import os
import socket
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import normalize

from edgeglass_models.data.features import Features
from edgeglass_models.data.splits import FeatureSet, FeatureSplits
from edgeglass_models.losses import clip_loss, gathered, own_rows
from edgeglass_models.recipes.settings import Recipe
from edgeglass_models.train import train


def features(count, seed):
    random = np.random.default_rng(seed)
    shared = random.normal(size=(count, 6))
    tokens = random.normal(size=(count, 5, 12)) * 0.3
    tokens[:, :, :6] += shared[:, None]
    text = np.concatenate([shared, random.normal(size=(count, 4)) * 0.1], axis=1)
    return FeatureSet(Features(tokens.astype(np.float16), text.astype(np.float32), f"{count}-{seed}"))


def splits():
    return FeatureSplits(features(96, 0), features(40, 1), features(50, 2))


def recipe(**sections):
    content = {
        "name": "test",
        "model": {
            "pooling": "perceiver", "width": 16, "mrl_dims": [16, 8], "latent_width": 8, "latents": 3, "layers": 1,
            "heads": 2, "learned_scale": True,
        },
        "loss": {"sample_single_mrl_dim": True},
        "optim": {"lr": 3e-3, "warmup_steps": 2},
        "train": {"batch_size": 32, "epochs": 4, "validate_every": 3, "checkpoint_every": 5},
    }  # fmt: skip
    for section, values in sections.items():
        content[section] = {**content[section], **values}
    return Recipe.model_validate(content)


def meeting(rank, world=2, port=None):
    """Return the environment of a rank of one machine, as a launcher makes it, and the port."""
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    return {**os.environ, **where, "LOCAL_RANK": str(rank), "RANK": str(rank)}, port


def run_together(server, function, *arguments, folder):
    """Call a function in two copies of the server; return what went wrong in them."""
    port, copies = None, []
    for rank in range(2):
        env, port = meeting(rank, port=port)
        place = folder / f"printed-{rank}"
        place.mkdir(parents=True)
        copies.append(server.start(function, *arguments, place=place, env=env))
    return [(copy.place / "stderr").read_text() for copy in copies if copy.wait()]


def pairs():
    """Return two layers, and the inputs of a batch of 8 pairs, in float64."""
    torch.manual_seed(3)
    layers = (nn.Linear(width, 5, bias=False, dtype=torch.float64) for width in (6, 4))
    return *layers, torch.randn(8, 6, dtype=torch.float64), torch.randn(8, 4, dtype=torch.float64)


def losses_of_shares(folder):
    """Write the mean loss and the mean gradients of the two halves of a batch; without gradient of the others too."""
    dist.init_process_group("gloo")
    found = {}
    for name in ("gathered", "detached"):
        image, text, pictures, captions = pairs()
        scale = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
        own = slice(dist.get_rank() * 4, (dist.get_rank() + 1) * 4)
        sides = [normalize(image(pictures[own]), dim=-1), normalize(text(captions[own]), dim=-1)]
        rows = own_rows(sides[0])
        whole = [gathered(side if name == "gathered" else side.detach()) for side in sides]
        if name == "detached":
            for all_rows, side in zip(whole, sides, strict=True):
                all_rows[rows] = side
        loss = clip_loss(*whole, scale, rows)
        loss.backward()
        values = [loss.detach(), image.weight.grad, text.weight.grad, scale.grad]
        for value in values:
            dist.all_reduce(value)
        found[name] = [value / 2 for value in values]
    if dist.get_rank() == 0:
        torch.save(found, Path(folder) / "losses.pt")
    dist.destroy_process_group()


def train_in_ranks(folder, trainings):
    """Train recipes one after the other.

    Args:
        folder: each training writes to the folder of its name below it.
        trainings: for each name its ``train`` settings and the checkpoint to go on from, empty for none.
    """
    warnings.simplefilter("error")
    for name, (settings, resume) in trainings.items():
        train(recipe(train=settings), splits(), Path(folder) / name, resume=Path(resume) if resume else None)
