"""The settings of a recipe, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from edgeglass_models.perceiver import LatentInit, NormPlacement


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    train: PositiveInt = 8000
    val: PositiveInt = 500
    test: PositiveInt = 1000
    seed: int = 0


class ModelSettings(_Section):
    """The trainable heads. Widths: ``width`` of the embedding, ``latent_width`` inside the resampler."""

    pooling: Literal["attention", "perceiver"]
    width: PositiveInt
    mrl_dims: list[PositiveInt]
    latent_width: PositiveInt = 128
    latents: PositiveInt = 64
    layers: PositiveInt = 4
    heads: PositiveInt = 8
    init: LatentInit = "reported"
    norm: NormPlacement = "pre_shared"
    temperature: PositiveFloat = 0.07
    learned_scale: bool = False

    @model_validator(mode="after")
    def _compatible(self) -> ModelSettings:
        if not self.mrl_dims or max(self.mrl_dims) > self.width:
            raise ValueError(f"mrl_dims must not be empty nor wider than width {self.width}, got {self.mrl_dims}")
        if self.pooling == "perceiver" and self.latent_width % self.heads:
            raise ValueError(f"latent_width {self.latent_width} must be a multiple of heads {self.heads}")
        return self


class LossSettings(_Section):
    """loss = clip_weight x CLIP + mrl_weight x mean CLIP loss over prefixes, or one prefix drawn per batch."""

    clip_weight: float = Field(default=0.25, ge=0)
    mrl_weight: float = Field(default=1.0, ge=0)
    sample_single_mrl_dim: bool = False


class OptimSettings(_Section):
    """AdamW with linear warm-up and cosine decay to zero at ``horizon`` steps; None for the run's length."""

    lr: PositiveFloat
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_steps: int = Field(default=0, ge=0)
    horizon: PositiveInt | None = None
    max_grad_norm: PositiveFloat | None = 1.0


class TrainSettings(_Section):
    """Length and precision of the run; ``batch_size`` counts pairs per optimizer step and device."""

    epochs: PositiveInt = 10
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    validate_every: PositiveInt = 50
    checkpoint_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _divisible(self) -> TrainSettings:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        return self


class Recipe(_Section):
    """One training run, from data to optimizer."""

    name: str
    description: str = ""
    seed: int = 0
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
    recipes: list[str] = Field(min_length=1)
