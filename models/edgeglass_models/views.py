"""Views of pairs on their way to the embeddings of a trained model: pixels, tokens, latents, words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from edgeglass_models.align import AlignmentModel, ResampledImageHead
from edgeglass_models.towers import Tower


@dataclass(frozen=True)
class PairView:
    """One representation of one side, see ``edgeglass_diag.provider_protocols.View``."""

    name: str
    side: str
    inputs: Tensor
    units: Tensor
    forward: Callable[..., Tensor]
    extra: tuple[Tensor, ...] = ()
    baseline: Tensor | None = None
    grid: tuple[int, int] | None = None

    def encode(self, inputs: Tensor, *extra: Tensor) -> Tensor:
        """Return the embeddings (B, D) that the model compares."""
        return self.forward(inputs, *extra)


@dataclass(frozen=True)
class PairViews:
    """Images (N, H, W, 3) of uint8, captions, their words, and the views."""

    pictures: Tensor
    captions: list[str]
    words: list[list[str]]
    views: list[PairView]


def make_views(tower: Tower, model: AlignmentModel | None, pairs: Sequence[tuple[Image.Image, str]]) -> PairViews:
    """Return views of pairs through a frozen tower and the trained heads; without a model, through the tower's heads.

    Raises:
        ValueError: if ``pairs`` is empty.
    """
    if not pairs:
        raise ValueError("pairs: expected at least one, got none")
    images = torch.stack([tower.transform(picture) for picture, _ in pairs])
    captions = [caption for _, caption in pairs]
    pictures = torch.stack([_resized(picture, images.shape[-2:]) for picture, _ in pairs])
    views = image_views(tower, model, images)
    words, text_view = word_view(tower, model, captions)
    return PairViews(pictures, captions, words, [*views, text_view])


def image_views(tower: Tower, model: AlignmentModel | None, images: Tensor) -> list[PairView]:
    """Return the view of pixels by patch; with a model also of its input tokens and of a resampler's latents."""
    rows, columns = grid = tower.grid(images)
    patch = torch.arange(images.shape[-2])[:, None] * rows // images.shape[-2] * columns
    patch = patch + torch.arange(images.shape[-1])[None, :] * columns // images.shape[-1]
    units = patch[None, None]
    if model is None:
        return [PairView("pixels", "image", images, units, tower.model.encode_image, grid=grid)]
    head, scaled = model.image_head, model.head
    with torch.no_grad():
        tokens = torch.cat([tower.image_tokens(part) for part in torch.split(images, 64)])
    views = [
        PairView("pixels", "image", images, units, lambda x: scaled(head(tower.image_tokens(x))), grid=grid),
        PairView("tokens", "image", tokens, _unit_per_row(tokens), lambda x: scaled(head(x)), grid=grid),
    ]
    if isinstance(head, ResampledImageHead):
        with torch.no_grad():
            latents = head.resampler(head.project(tokens))
        views.append(
            PairView("latents", "image", latents, _unit_per_row(latents), lambda x: scaled(head.out(x).mean(dim=1)))
        )
    return views


def word_view(tower: Tower, model: AlignmentModel | None, captions: Sequence[str]) -> tuple[list[list[str]], PairView]:
    """Return the words of each caption, and the view of token embeddings by word, whose baseline is padding.

    Begin, end and padding of the text are unit 0.
    """
    ids = tower.tokenizer(list(captions))
    captions_split = [_words_and_units(tower, caption, row) for caption, row in zip(captions, ids, strict=True)]
    units = torch.tensor([units for _, units in captions_split])[:, :, None]
    embedding = _token_embedding(tower)
    with torch.no_grad():
        inputs, padding = embedding(ids), embedding(torch.zeros_like(ids))
    baseline = torch.where(units > 0, padding, inputs)

    def encode(x: Tensor, token_ids: Tensor) -> Tensor:
        handle = embedding.register_forward_hook(lambda *_: x)
        try:
            features = tower.text_features(token_ids)
        finally:
            handle.remove()
        return features if model is None else model.head(model.text_head(features))

    view = PairView("words", "text", inputs, units, encode, extra=(ids,), baseline=baseline)
    return [words for words, _ in captions_split], view


def _words_and_units(tower: Tower, caption: str, ids: Tensor) -> tuple[list[str], list[int]]:
    """Return the words of a caption, and the number of the word of each token id, from 1; 0 for special tokens.

    Words are separated by spaces. Byte-pair encoding does not merge across spaces, so the tokens of a word are counted
    by tokenizing it alone. Truncated words are left out.
    """
    words, units = [], [0]
    length = len(ids)
    for word in caption.split():
        count = _token_count(tower, word)
        if len(units) + count > length - 1:
            break
        words.append(word)
        units += [len(words)] * count
    return words, units + [0] * (length - len(units))


def _token_count(tower: Tower, text: str) -> int:
    """Return the number of tokens without begin and end; padding has the id 0."""
    blank = int((tower.tokenizer([""])[0] != 0).sum())
    return int((tower.tokenizer([text])[0] != 0).sum()) - blank


def _token_embedding(tower: Tower) -> nn.Module:
    for name in ("token_embedding", "text.token_embedding"):
        try:
            return tower.model.get_submodule(name)  # type: ignore[no-any-return]
        except AttributeError:
            continue
    raise ValueError("tower: expected a text tower with token_embedding, got none; attribute the image side alone")


def _unit_per_row(inputs: Tensor) -> Tensor:
    return torch.arange(inputs.shape[1])[None, :, None]


def _resized(picture: Image.Image, size: Sequence[int]) -> Tensor:
    """Return the image at the tower's input size, (H, W, 3) of uint8."""
    return torch.from_numpy(np.array(picture.convert("RGB").resize((size[1], size[0]))))
