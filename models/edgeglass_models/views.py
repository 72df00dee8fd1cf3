"""Pairs as a trained model sees them on their way to the embeddings: pixels, tokens, latents, words."""

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
        """Embeddings (B, D) as the model compares them."""
        return self.forward(inputs, *extra)


@dataclass(frozen=True)
class PairViews:
    """Pictures (N, H, W, 3), captions, their words, and the views."""

    pictures: Tensor
    captions: list[str]
    words: list[list[str]]
    views: list[PairView]


def make_views(tower: Tower, model: AlignmentModel | None, pairs: Sequence[tuple[Image.Image, str]]) -> PairViews:
    """The views of pairs through a frozen tower and the trained heads; through the tower's own heads without a model.

    Raises:
        ValueError: for no pairs.
    """
    if not pairs:
        raise ValueError("pairs: expected at least one, got none")
    images = torch.stack([tower.transform(picture) for picture, _ in pairs])
    captions = [caption for _, caption in pairs]
    pictures = torch.stack([_shown(picture, images.shape[-2:]) for picture, _ in pairs])
    views = image_views(tower, model, images)
    words, text_view = word_view(tower, model, captions)
    return PairViews(pictures, captions, words, [*views, text_view])


def image_views(tower: Tower, model: AlignmentModel | None, images: Tensor) -> list[PairView]:
    """Pixels by patch; with a model also the tokens that its heads read and, of a resampler, the latents."""
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
        PairView("tokens", "image", tokens, _along(tokens), lambda x: scaled(head(x)), grid=grid),
    ]
    if isinstance(head, ResampledImageHead):
        with torch.no_grad():
            latents = head.resampler(head.project(tokens))
        views.append(PairView("latents", "image", latents, _along(latents), lambda x: scaled(head.out(x).mean(dim=1))))
    return views


def word_view(tower: Tower, model: AlignmentModel | None, captions: Sequence[str]) -> tuple[list[list[str]], PairView]:
    """The words of each caption, and the token embeddings grouped by word; the baseline is padding in their place.

    Begin, end and padding of the text are the unit 0.
    """
    ids = tower.tokenizer(list(captions))
    pieces = [_pieces(tower, caption, row) for caption, row in zip(captions, ids, strict=True)]
    units = torch.tensor([units for _, units in pieces])[:, :, None]
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
    return [words for words, _ in pieces], view


def _pieces(tower: Tower, caption: str, ids: Tensor) -> tuple[list[str], list[int]]:
    """The words of a caption, and for each of its token ids the number of its word from 1 on, 0 for none.

    A word is what stands between spaces; its tokens are counted by tokenizing it alone, as byte-pair encoding does not
    reach over a space. Words that were cut off have no tokens and are left out.
    """
    words, units = [], [0]
    length = len(ids)
    for word in caption.split():
        count = _length(tower, word)
        if len(units) + count > length - 1:
            break
        words.append(word)
        units += [len(words)] * count
    return words, units + [0] * (length - len(units))


def _length(tower: Tower, text: str) -> int:
    """Number of tokens without begin and end; padding is 0."""
    blank = int((tower.tokenizer([""])[0] != 0).sum())
    return int((tower.tokenizer([text])[0] != 0).sum()) - blank


def _token_embedding(tower: Tower) -> nn.Module:
    for name in ("token_embedding", "text.token_embedding"):
        try:
            return tower.model.get_submodule(name)  # type: ignore[no-any-return]
        except AttributeError:
            continue
    raise ValueError("tower: expected a text tower with token_embedding, got none; attribute the image side alone")


def _along(inputs: Tensor) -> Tensor:
    return torch.arange(inputs.shape[1])[None, :, None]


def _shown(picture: Image.Image, size: Sequence[int]) -> Tensor:
    """The picture at the size at which the tower sees it, (H, W, 3)."""
    return torch.from_numpy(np.array(picture.convert("RGB").resize((size[1], size[0]))))
