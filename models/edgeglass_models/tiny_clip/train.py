"""Train tiny_clip on scenes drawn on the fly: python -m edgeglass_models.tiny_clip.train --out DIR --steps 1300.

Writes open_clip_config.json and open_clip_model.safetensors (half precision), which open_clip loads as
local-dir:DIR. Takes about half an hour on two CPU cores.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from edgeglass_models.data.scenes import Scene, caption, draw, sample_look_alike, sample_scene
from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()
import open_clip  # noqa: E402
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": 64,
            "patch_size": 8,
            "width": 128,
            "head_width": 32,
            "layers": 4,
            "pos_embed_type": "sin_cos_2d",
            "pool_type": "avg",
        },
        "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 96, "heads": 4, "layers": 3},
    },
    "preprocess_cfg": {
        "size": 64,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}
_SINGLE_OBJECT_SHARE = 0.2  # of the training, at its start
_LOOK_ALIKES = 4  # scenes of the same colours and sizes, side by side in a batch
_MAX_OBJECTS = 4
_LR = 1e-3
_WARMUP = 100
_WEIGHT_DECAY = 0.1
_MAX_LOGIT_SCALE = math.log(100)
_SAVE_EVERY = 200
_REPORT_EVERY = 50


class _Curriculum(Dataset[tuple[Tensor, Tensor]]):
    """The `n` training pairs of the curriculum, as model input."""

    def __init__(self, n: int, seed: int) -> None:
        self._transform = image_transform_v2(PreprocessCfg(**CONFIG["preprocess_cfg"]), is_train=False)
        self._tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"])
        self._n, self._seed = n, seed

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        scene = self._scene(i)
        return self._transform(draw(scene)), self._tokenizer(caption(scene, self._seed))[0]

    def _scene(self, i: int) -> Scene:
        if i < _SINGLE_OBJECT_SHARE * self._n:
            return sample_scene("train", i, self._seed, count=1)
        group, member = divmod(i, _LOOK_ALIKES)
        scene = sample_scene("train", group, self._seed, count=1 + group % _MAX_OBJECTS)
        return sample_look_alike(scene, member, self._seed) if member else scene


def train(out: Path, *, steps: int, seed: int, batch_size: int = 128) -> None:
    """Train for `steps` batches of new train scenes; weights are saved every 200 steps and at the end.

    The first fifth has single objects, which differ in their places only. The rest has one to four objects in groups
    of hard negatives. Without this curriculum colours and sizes suffice for a low loss, and the model learns little
    else.
    Contrastive loss of CLIP ("Learning Transferable Visual Models From Natural Language Supervision",
    https://arxiv.org/abs/2103.00020), AdamW, linear warm-up and cosine decay.
    """
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    model = open_clip.CLIP(**CONFIG["model_cfg"])
    optimizer = _optimizer(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _lr_factor(step, steps))
    clip_loss = open_clip.ClipLoss()
    loader = DataLoader(_Curriculum(steps * batch_size, seed), batch_size, num_workers=1, prefetch_factor=4)
    for step, (images, texts) in enumerate(_with_progress(loader, steps), start=1):
        loss = clip_loss(*model(images, texts))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=_MAX_LOGIT_SCALE)
        if step % _REPORT_EVERY == 0:
            print(f"step {step}: loss {loss.item():.3f}, logit scale {model.logit_scale.exp().item():.1f}", flush=True)
        if step % _SAVE_EVERY == 0 or step == steps:
            _save(model, out)


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW; norms, biases, embeddings and the logit scale are not decayed, as in CLIP."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (free if parameter.ndim < 2 or "embedding" in name else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=_LR, betas=(0.9, 0.98))


def _lr_factor(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / _WARMUP)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def _with_progress(batches: "DataLoader[Any]", steps: int) -> Iterator[Any]:
    columns = (TextColumn("training tiny_clip"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        yield from progress.track(batches, total=steps)


def _save(model: nn.Module, out: Path) -> None:
    """Write the weights in half precision; the file is replaced atomically."""
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    partial = out / f".open_clip_model.{os.getpid()}.partial"
    save_file(weights, partial)
    partial.chmod(0o644)  # safetensors makes files that only their owner can read
    partial.replace(out / "open_clip_model.safetensors")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m edgeglass_models.tiny_clip.train", description="Train tiny_clip.")
    parser.add_argument("--out", type=Path, required=True, help="folder for configuration and weights")
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()
    train(options.out, steps=options.steps, seed=options.seed)
    print(f"{options.steps} steps in {(time.perf_counter() - started) / 60:.1f} minutes: {options.out}")


if __name__ == "__main__":
    main()
