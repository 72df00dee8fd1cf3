"""Observes the embeddings: the two operands of the matrix product whose result reaches a loss."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional
from torch.nn.functional import normalize

from edgeglass_diag import site_paths
from edgeglass_diag.measures.contrast import cosines, logit_scale
from edgeglass_diag.measures.geometry import (
    alignment,
    between_sample_variance_ratio,
    gram,
    mean_cosine,
    modality_gap,
    rank_of_gram,
)
from edgeglass_diag.record import buffer
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.tensor_sources import Product
from edgeglass_diag.record.torch_functions import MATMULS, bind
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_ALIGNMENT,
    EMBEDDING_COLUMN_ERROR,
    EMBEDDING_EFFECTIVE_RANK,
    EMBEDDING_GAP,
    EMBEDDING_MEAN_COSINE,
    EMBEDDING_NORM,
    EMBEDDING_NORM_SPREAD,
    EMBEDDING_SAMPLE_SIGNAL,
    EMBEDDING_SCALE,
)
from edgeglass_diag.sites import EmbeddingSite, PairSite, Side

PAIRS = 256
"""Pairs of a batch that are kept, for pictures of them."""


class EmbeddingObserver(Observer):
    """Follows products of two sets of row vectors, and writes ``embedding/*`` when a loss takes them.

    Args:
        recording: state of the watch.
        modules: knows which modules feed which.

    Attributes:
        pairs: embeddings of the widest product of this window whose rows are pairs, (2, pairs, dims): image first.
        rows: samples of the last contrastive loss, in this window or before; 0 before the first.
    """

    def __init__(self, recording: Recording, modules: ModuleSiteObserver) -> None:
        self._recording, self._modules = recording, modules
        self.pairs: Tensor | None = None
        self.rows = 0
        self._products: dict[int, Product] = {}
        self._pairs: set[tuple[str, str]] = set()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = {functional.linear: self._linear, torch.einsum: self._einsum}
        return table | dict.fromkeys(MATMULS, self._matmul)

    def forget(self) -> None:
        """Release the embeddings of the window."""
        self._products.clear()
        self._pairs.clear()
        self.pairs = None

    def reached(self, logits: Tensor) -> None:
        """Measure the embeddings behind logits that a loss takes, once for each product of a window."""
        product = self._recording.sources.product(logits)
        if product is not None and product.key not in self._products:
            self._products[product.key] = product
            self.rows = len(product.left)
            self._measure(product, first=len(self._products) == 1)

    def _matmul(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        left, right = given.get("input"), given.get("other")
        if isinstance(left, Tensor) and isinstance(right, Tensor) and right.dim() == 2:
            self._note(left, right.mT, result)

    def _linear(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if given["weight"].dim() == 2:
            self._note(given["input"], given["weight"], result)

    def _einsum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) == 3 and isinstance(args[1], Tensor) and isinstance(args[2], Tensor):
            inputs = str(args[0]).replace(" ", "").split("->")[0].split(",")
            if len(inputs) == 2 and len(inputs[0]) == len(inputs[1]) == 2 and inputs[0][1] == inputs[1][1]:
                self._note(args[1], args[2], result)

    def _note(self, left: Tensor, right: Tensor, result: Any) -> None:
        if left.dim() != 2 or len(left) < 2 or not isinstance(result, Tensor):
            return
        base = right._base if right._base is not None else right
        if any(isinstance(operand, Parameter) for operand in (left, right, base)):
            return
        known = self._recording.sources
        sources = known.sources([left]), known.sources([right, base])
        if any(sources):  # what a gather of other ranks returned has none
            known.set_product(result, Product(left.detach(), right.detach(), *sources, result.detach()))

    def _measure(self, product: Product, *, first: bool) -> None:
        recording = self._recording
        left, right = product.left.float(), product.right.float()
        sides = self._sides(product)
        names = (sides[0].path, sides[1].path)
        if names[::-1] in self._pairs:
            return  # the other direction of a pair that is measured already
        self._pairs.add(names)
        pair = site_paths.pair(*names)
        for site, values in zip(sides, (left, right), strict=True):
            recording.sites.register_site(site)
            self._measure_side(site.path, values)
            if first:
                recording.buffer.defer(site.path, EMBEDDING_EFFECTIVE_RANK, gram(values), rank_of_gram)
        recording.sites.register_site(PairSite(path=pair, parents=names, left=names[0], right=names[1]))
        recording.buffer.add(pair, EMBEDDING_SCALE, logit_scale(product.logits.float(), cosines(left, right)))
        recording.buffer.add(pair, EMBEDDING_GAP, modality_gap(left, right))
        if left.shape == right.shape:
            recording.buffer.add(pair, EMBEDDING_ALIGNMENT, alignment(left, right))
            swapped = sides[0].side is Side.TEXT or sides[1].side is Side.IMAGE
            self._keep(*((right, left) if swapped else (left, right)))

    def _measure_side(self, path: str, values: Tensor) -> None:
        add = partial(self._recording.buffer.add, path)
        lengths = values.norm(dim=-1)
        add(EMBEDDING_NORM, lengths.mean())
        add(EMBEDDING_NORM_SPREAD, lengths.std(correction=0) / lengths.mean())
        add(EMBEDDING_COLUMN_ERROR, (values.norm(dim=0) - 1).abs().amax())
        add(EMBEDDING_SAMPLE_SIGNAL, between_sample_variance_ratio(normalize(values, dim=-1)))
        add(EMBEDDING_MEAN_COSINE, mean_cosine(values))

    def _keep(self, image: Tensor, text: Tensor) -> None:
        wider = self.pairs is None or self.pairs.shape[2] < image.shape[1]
        if wider and buffer.has_values(image):
            self.pairs = torch.stack([image[:PAIRS].float(), text[:PAIRS].float()])

    def _sides(self, product: Product) -> tuple[EmbeddingSite, EmbeddingSite]:
        left, right = self._ancestors(product.left_sources), self._ancestors(product.right_sources)
        width = product.left.shape[1]
        made = []
        for own, other, fallback, sources in (
            (left, right, "left", product.left_sources),
            (right, left, "right", product.right_sources),
        ):
            shared = {site_paths.first_call(site) for site in other}
            module = next((site for site in own if site_paths.first_call(site) not in shared), fallback)
            path, side = site_paths.embedding(module, width), self._side(module, sources)
            made.append(EmbeddingSite(path=path, parents=(module,), module=module, width=width, side=side))
        return made[0], made[1]

    def _side(self, module: str, sources: tuple[str, ...]) -> Side:
        """Return which side it is by the names on the way or by what is at its beginning."""
        path = [module.lower(), *(site.lower() for site in sources)]
        for side, words in ((Side.IMAGE, _IMAGE_WORDS), (Side.TEXT, _TEXT_WORDS)):
            if any(word in part for part in path for word in words):
                return side
        kinds = {self._recording.sites.class_name(site) for site in self._ancestors(sources)}
        if "Embedding" in kinds:
            return Side.TEXT
        return Side.IMAGE if "Conv2d" in kinds else Side.UNKNOWN

    def _ancestors(self, sources: tuple[str, ...]) -> list[str]:
        """Sites behind a tensor, nearest first."""
        found: dict[str, None] = {}
        level = list(reversed(sources))
        while level:
            found |= dict.fromkeys(level)
            level = [p for site in level for p in reversed(self._modules.parents.get(site, ())) if p not in found]
        return list(found)


_IMAGE_WORDS = ("image", "visual", "vision", "img", "pixel", "picture")
_TEXT_WORDS = ("text", "txt", "caption", "language", "token", "word", "sentence")
