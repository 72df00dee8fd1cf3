"""The settings of a recipe, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from edgeglass_models.perceiver import LatentInit, NormPlacement

Count = Annotated[int, Field(gt=0, le=10**9)]
Processes = Annotated[int, Field(gt=0, le=2**16)]
Width = Annotated[int, Field(gt=0, le=2**16)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What a generator of torch takes."""
Decay = Annotated[float, Field(ge=0, lt=1)]
_WEIGHTS = 4 * 10**9
"""Most weights of the heads: 16 GB of float32, four times those of the whole ViT-bigG-14."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TowerSettings(_Section):
    """The frozen towers: an open_clip name, ``hf-hub:`` id, folder, or ``tiny_clip``; weights by tag or file."""

    model: str = "tiny_clip"
    pretrained: str | None = None


class DataSettings(_Section):
    """Scenes rendered at run time, or, with ``path``, the user's own images and captions.

    ``path``: CSV, TSV, JSON lines, parquet, arrow, COCO captions, WebDataset shards or a folder; also a pattern. The
    counts are images: exact for scenes, upper limits for own data. ``images``: the folder of the images if it is not
    that of the file. ``on_error``: ``refuse`` raises for unusable rows before the run begins, ``skip`` leaves them out
    with a warning.
    """

    path: Path | None = None
    images: Path | None = None
    image_column: str | None = None
    caption_column: str | None = None
    on_error: Literal["refuse", "skip"] = "refuse"
    train: Count = 8000
    val: Count = 500
    test: Count = 1000
    seed: Seed = 0


class ModelSettings(_Section):
    """The trainable heads. Widths: ``width`` of the embedding, ``latent_width`` inside the resampler.

    ``init``: how the latents are drawn; a number is the standard deviation of a normal distribution.
    """

    pooling: Literal["attention", "perceiver"]
    width: Width
    mrl_dims: list[Width] = Field(max_length=64)
    latent_width: Width = 128
    latents: Count = 64
    layers: Count = 4
    heads: Count = 8
    init: LatentInit | PositiveFloat = "reported"
    norm: NormPlacement = "pre_shared"
    temperature: PositiveFloat = 0.07
    learned_scale: bool = False

    @model_validator(mode="after")
    def _compatible(self) -> ModelSettings:
        if not self.mrl_dims or max(self.mrl_dims) > self.width:
            raise ValueError(f"mrl_dims must not be empty nor wider than width {self.width}, got {self.mrl_dims}")
        if self.pooling == "perceiver" and self.latent_width % self.heads:
            raise ValueError(f"latent_width {self.latent_width} must be a multiple of heads {self.heads}")
        weights = 12 * self.layers * self.latent_width**2 + self.latents * self.latent_width + self.width**2
        if weights > _WEIGHTS:
            raise ValueError(
                f"width, latent_width, latents and layers make {weights:.2g} weights, above {_WEIGHTS:.0g}"
            )
        return self


class LossSettings(_Section):
    """loss = clip_weight x CLIP + mrl_weight x mean CLIP loss over prefixes, or one prefix drawn per batch."""

    clip_weight: float = Field(default=0.25, ge=0)
    mrl_weight: float = Field(default=1.0, ge=0)
    sample_single_mrl_dim: bool = False


class OptimSettings(_Section):
    """An optimizer with linear warm-up and cosine decay to zero at ``horizon`` steps; None for the run's length.

    ``name``: ``adamw``, or ``sgd`` with the first of ``betas`` as its momentum.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    warmup_steps: int = Field(default=0, ge=0, le=10**9)
    horizon: Count | None = None
    max_grad_norm: PositiveFloat | None = 1.0


class TrainSettings(_Section):
    """Length, precision and processes of the run.

    ``batch_size`` counts pairs per optimizer step over all processes; each of the ``accumulate`` parts of a batch is a
    batch of the loss, whose negatives are gathered from all processes. ``devices``: processes on each of ``num_nodes``
    machines. ``strategy``: ``ddp`` (each process holds the whole model), ``fsdp`` (weights, gradients and moments
    sharded over the processes), or ``auto``, which is ``ddp`` for several processes.
    """

    epochs: Count = 10
    max_steps: Count | None = None
    batch_size: Count = 128
    accumulate: Count = 1
    precision: Literal["32-true", "bf16-mixed", "bf16-true"] = "32-true"
    devices: Processes = 1
    num_nodes: Processes = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    validate_every: Count = 50
    checkpoint_every: Count | None = None

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return self.devices * self.num_nodes

    @model_validator(mode="after")
    def _divisible(self) -> TrainSettings:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        if self.batch_size % (self.accumulate * self.processes):
            parts = f"accumulate {self.accumulate} x devices {self.devices} x num_nodes {self.num_nodes}"
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of {parts}")
        return self

    @model_validator(mode="after")
    def _shardable(self) -> TrainSettings:
        if self.strategy == "fsdp" and self.processes < 2:
            raise ValueError(
                f"strategy fsdp shards over at least 2 processes, got devices {self.devices} x num_nodes "
                f"{self.num_nodes}"
            )
        return self


class Recipe(_Section):
    """One training run, from data to optimizer."""

    name: str
    description: str = ""
    seed: Seed = 0
    tower: TowerSettings = TowerSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings
    loss: LossSettings = LossSettings()
    optim: OptimSettings
    train: TrainSettings = TrainSettings()


class Comparison(_Section):
    """Several recipes, run one after the other and compared."""

    name: str
    description: str = ""
    recipes: list[str] = Field(min_length=1, max_length=64)
