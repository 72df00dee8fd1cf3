"""Frozen CLIP towers of open_clip, with the tokens that resamplers and poolers take as input."""

import difflib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from edgeglass_diag.user_input.files import is_file, is_folder
from edgeglass_models.tiny_clip import WEIGHTS
from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()
import open_clip  # noqa: E402
from open_clip.timm_model import TimmModel  # noqa: E402
from open_clip.transformer import VisionTransformer  # noqa: E402

TINY_CLIP = "tiny_clip"
_LOCAL, _HUB = "local:", "hf-hub:"


class Tower(nn.Module):
    """A frozen CLIP model: no parameter requires a gradient, and it stays in evaluation mode.

    Gradients flow through it to its input, for attribution.

    Attributes:
        transform: from a PIL image to the input tensor (3, H, W) that the model was trained for.
        tokenizer: from a list of captions to token ids (B, context length).
        image_width: D of `image_tokens`.
        text_width: D of `text_features`.
        fingerprint: SHA-256 over architecture, preprocessing and weights; the same in every process.
    """

    model: Any  # open_clip has no types

    def __init__(self, model: Any, tokenizer: Any, architecture: object) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        preprocessing = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
        self.transform: Callable[[Image.Image], Tensor] = open_clip.transform.image_transform_v2(
            preprocessing, is_train=False
        )
        self.fingerprint = _fingerprint(model, (architecture, preprocessing))
        with torch.no_grad():
            blank = self.transform(Image.new("RGB", (8, 8)))
            self.image_width = self.image_tokens(blank[None]).shape[-1]
            self.text_width = self.text_features(tokenizer([""])).shape[-1]

    def train(self, mode: bool = True) -> "Tower":
        """Stay in evaluation mode for any `mode`, also if a model that holds the tower is set to train."""
        return super().train(False)

    def image_tokens(self, images: Tensor) -> Tensor:
        """Return all tokens after the last block, before the final norm, class token first.

        They are the ``last_hidden_state`` of a CLIPVisionModel in transformers, the usual input of resamplers and
        projectors.

        Shapes: (B, 3, H, W) -> (B, L, D).
        """
        visual = self.model.visual
        output = visual.forward_intermediates(
            images,
            indices=1,
            normalize_intermediates=False,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        prefix = output.get("image_intermediates_prefix", [])
        return torch.cat([*prefix, *output["image_intermediates"]], dim=1)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return rows and columns of patches of images (B, 3, H, W); the last rows x columns tokens are the patches."""
        visual = self.model.visual
        size = visual.trunk.patch_embed.patch_size if isinstance(visual, TimmModel) else visual.patch_size
        return images.shape[-2] // int(size[0]), images.shape[-1] // int(size[1])

    def text_features(self, token_ids: Tensor) -> Tensor:
        """Return CLIP's text embedding: pooled and projected into the shared space, not normalised.

        It is the output of `encode_text`, which CLIP's training aligned with image embeddings.

        Shapes: (B, context length) -> (B, D).
        """
        features: Tensor = self.model.encode_text(token_ids, normalize=False)
        return features

    def cuts(self, caption: str) -> bool:
        """Return whether the tokenizer truncates a caption because it is longer than the context."""
        inner = getattr(self.tokenizer, "tokenizer", None)  # of open_clip's wrapper of a transformers tokenizer
        length = len(inner(caption).input_ids) if inner is not None else len(self.tokenizer.encode(caption)) + 2
        return length > int(self.tokenizer.context_length)


def load_tower(model: str, pretrained: str | None = None, *, seed: int = 0) -> Tower:
    """Return a frozen tower.

    Args:
        model: "tiny_clip" (shipped); an open_clip architecture such as "ViT-L-14"; "hf-hub:ORGANISATION/NAME"; or a
            folder, plain or as "local:FOLDER", with open_clip_config.json and open_clip_model.safetensors.
        pretrained: for an architecture, a tag of open_clip ("openai") or a file of weights; None for random weights.
        seed: of random weights.

    Raises:
        ValueError: if the name, tag, file or folder is unknown or cannot be loaded.
    """
    source = _source(model, pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            loaded = open_clip.create_model(source, pretrained=pretrained, pretrained_text=False)
            tokenizer = open_clip.get_tokenizer(source)
        except Exception as error:  # readers of files and the network raise exceptions of any type
            requested = model if pretrained is None else f"{model} with pretrained={pretrained!r}"
            raise ValueError(f"{requested}: expected a model that loads; got {_one_line(error)}") from error
    if not _has_tokens(loaded.visual):
        raise ValueError(f"model: expected a vision transformer, which gives tokens; got {model!r}")
    return Tower(loaded, tokenizer, open_clip.get_model_config(source))


def _source(model: str, pretrained: str | None) -> str:
    """Return the model's name in open_clip.

    Raises:
        ValueError: if the name, tag or folder is unknown, as far as that is known without loading.
    """
    folder = _folder(model)
    if folder is None and not model.startswith(_HUB):
        _check_architecture(model)
        if pretrained is not None:
            _check_pretrained(model, pretrained)
        return model
    if pretrained is not None:
        raise ValueError(f"pretrained: expected none, as {model!r} brings its own weights; got {pretrained!r}")
    if folder is None:
        return model
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"model: expected a folder with {name}; got {folder}")
    return f"local-dir:{folder}"


def _folder(model: str) -> Path | None:
    if model == TINY_CLIP:
        return WEIGHTS
    if model.startswith(_LOCAL):
        return Path(model.removeprefix(_LOCAL))
    return Path(model) if is_folder(Path(model)) else None


def _check_architecture(model: str) -> None:
    known = open_clip.list_models()
    if model not in known:
        expected = f"an open_clip architecture, {_HUB}ID, a folder, or {TINY_CLIP}"
        raise ValueError(f"model: expected {expected}; got {model!r}{_close(model, [TINY_CLIP, *known])}")


def _check_pretrained(model: str, pretrained: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags and not is_file(Path(pretrained)):
        close = _close(pretrained, tags) or f" (known tags: {', '.join(tags) or 'none'})"
        raise ValueError(f"pretrained: expected a tag of {model} or a file of weights; got {pretrained!r}{close}")


def _close(name: str, known: list[str]) -> str:
    by_lower = {entry.lower(): entry for entry in known}
    names = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3)]
    return f" (close: {', '.join(names)})" if names else ""


def _one_line(error: Exception, length: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[:length] + " ..."


def _has_tokens(visual: nn.Module) -> bool:
    if isinstance(visual, TimmModel):
        return hasattr(visual.trunk, "num_prefix_tokens")
    return isinstance(visual, VisionTransformer)


def _fingerprint(model: nn.Module, description: Any) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=vars).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
