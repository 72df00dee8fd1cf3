"""Build a model from the settings of a recipe."""

from __future__ import annotations

from torch import nn

from edgeglass_models.align import AlignmentModel, PooledImageHead, ResampledImageHead
from edgeglass_models.recipes.settings import LossSettings, ModelSettings


def build_model(model: ModelSettings, loss: LossSettings, *, image_width: int, text_width: int) -> AlignmentModel:
    """Return the trainable part: heads over frozen features of the given widths."""
    return AlignmentModel(
        _image_head(model, image_width),
        text_width=text_width,
        width=model.width,
        mrl_dims=model.mrl_dims,
        temperature=model.temperature,
        learned_scale=model.learned_scale,
        clip_weight=loss.clip_weight,
        mrl_weight=loss.mrl_weight,
    )


def _image_head(model: ModelSettings, image_width: int) -> nn.Module:
    if model.pooling == "attention":
        return PooledImageHead(image_width, model.width)
    return ResampledImageHead(
        image_width,
        model.width,
        latent_width=model.latent_width,
        latents=model.latents,
        layers=model.layers,
        heads=model.heads,
        init=model.init,
        norm=model.norm,
    )
