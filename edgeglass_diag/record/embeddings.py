"""Observes the embeddings behind the logits of a loss: the two operands of the matrix product that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from edgeglass_diag import site_paths
from edgeglass_diag.compared import Compared
from edgeglass_diag.measures.contrast import scale_of_products
from edgeglass_diag.measures.geometry import alignment, modality_gap
from edgeglass_diag.pair_samples import MOST_PAIRS as PAIRS
from edgeglass_diag.record import buffer
from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.derivations import Product
from edgeglass_diag.record.embedding_sides import EmbeddingSides
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.pair_inputs import PairInputObserver
from edgeglass_diag.record.pairing_readings import PairingReadings
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.side_readings import SideReadings
from edgeglass_diag.record.torch_functions import MATMULS, bind, einsum_operands
from edgeglass_diag.signals.embeddings import EMBEDDING_ALIGNMENT, EMBEDDING_GAP, EMBEDDING_SCALE
from edgeglass_diag.sites import EmbeddingSite, PairSite, Side


class EmbeddingObserver(Observer):
    """Follows products of two sets of row vectors, and writes ``embedding/*`` when a loss takes them as logits.

    Args:
        recording: state of the watch.
        sides: names them.
        inputs: told when pairs are kept; None where nobody is.

    Attributes:
        pairs: embeddings of the widest product of this window whose rows are pairs, (2, pairs, dims): image first.
        pair_rows: rows that each side of them had.
        rows: samples of the last contrastive loss, in this window or before; 0 before the first.
        measured: paths of the sides that were measured in this window.
        pairings: writes how alike pairs are.
        pair_paths: paths of the pairs of sides by the key of the product.
    """

    def __init__(self, recording: Recording, sides: EmbeddingSides, inputs: PairInputObserver | None = None) -> None:
        self._recording, self._sides, self._inputs = recording, sides, inputs
        self._readings = SideReadings(recording)
        self.pairs: Tensor | None = None
        self.pair_rows = self.rows = 0
        self.measured: set[str] = set()
        self.pairings = PairingReadings(recording)
        self.pair_paths: dict[int, str] = {}
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
        self.pair_paths.clear()
        self._pairs.clear()
        self.measured.clear()
        self.pairs = None

    def reached(self, logits: Tensor) -> None:
        """Measure the embeddings behind logits that a loss takes, once for each product of a window."""
        product = self._recording.sources.product(logits)
        if product is not None and product.key not in self._products:
            self._products[product.key] = product
            self.rows = len(product.left)
            self._measure(product, first=len(self._products) == 1)

    def labelled(self, logits: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Tell how alike the labelled pairs are behind logits that a loss takes, where one comparison made them.

        Args:
            logits: as the loss takes them.
            rows: (N, C), the same as rows of candidates.
            labels: (N,) the right columns.
        """
        comparisons = self._recording.sources.comparisons(logits)
        if len(comparisons) == 1:
            sides = self._sides.of(comparisons[0])
            pair = site_paths.pair(sides[0].path, sides[1].path)
            self.pairings.labelled(pair, comparisons[0], rows, labels)

    def is_measured(self, comparison: Comparison) -> bool:
        """Return whether a comparison is a product whose logits a loss has taken in this window."""
        return id(comparison.left) in self._products

    def keep(self, sides: tuple[EmbeddingSite, EmbeddingSite], left: Tensor, right: Tensor) -> None:
        """Keep pairs for pictures of them, if they are the widest of the window: row i of both sides."""
        swapped = sides[0].side is Side.TEXT or sides[1].side is Side.IMAGE
        image, text = (right, left) if swapped else (left, right)
        wider = self.pairs is None or self.pairs.shape[2] < image.shape[1]
        if wider and buffer.has_values(image):
            self.pairs = torch.stack([image[:PAIRS].float(), text[:PAIRS].float()])
            self.pair_rows = len(image)
            if self._inputs is not None:
                self._inputs.compared()

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
        operands = einsum_operands(args)
        if operands is None or len(operands[0]) != 2 or len(operands[1]) != 2 or operands[0] == operands[1]:
            return
        left, right = operands[:2]
        if left[1] == right[1]:
            self._note(operands[2], operands[3], result)
        elif left[1] == right[0]:
            self._note(operands[2], operands[3].mT, result)

    def _note(self, left: Tensor, right: Tensor, result: Any) -> None:
        if left.dim() != 2 or len(left) < 2 or not isinstance(result, Tensor):
            return
        known = self._recording.sources
        bases = [operand if operand._base is None else operand._base for operand in (left, right)]
        if any(isinstance(operand, Parameter) for operand in (left, right, *bases)):
            return
        sources = known.sources([left, bases[0]]), known.sources([right, bases[1]])
        if any(sources):  # what a gather without gradient of other ranks returned has none
            product = Product(left.detach(), right.detach(), *sources, result.detach())
            known.set_product(result, product, comparison_of(product))

    def _names(self, product: Product, sides: tuple[EmbeddingSite, EmbeddingSite]) -> tuple[tuple[str, str], bool]:
        """Return the paths of both sides, and whether this is no other direction of a pair that is known."""
        names = (sides[0].path, sides[1].path)
        is_new = names[::-1] not in self._pairs
        self._pairs.add(names if is_new else names[::-1])
        self.pair_paths[product.key] = site_paths.pair(*(names if is_new else names[::-1]))
        return names, is_new

    def _measure(self, product: Product, *, first: bool) -> None:
        recording = self._recording
        left, right = product.left.float(), product.right.float()
        sides = self._sides.of(comparison_of(product))
        names, is_new = self._names(product, sides)
        if not is_new:
            return  # the other direction of a pair that is measured already
        pair = self.pair_paths[product.key]
        for site, values in zip(sides, (left, right), strict=True):
            recording.sites.register_site(site)
            self.measured.add(site.path)
            self._readings.of_logits(site.path, values)
            if first:
                self._readings.rank(site.path, values)
        recording.sites.register_site(PairSite(path=pair, parents=names, left=names[0], right=names[1]))
        recording.buffer.add(pair, EMBEDDING_SCALE, scale_of_products(product.logits.float(), left, right))
        recording.buffer.add(pair, EMBEDDING_GAP, modality_gap(left, right))
        if left.shape == right.shape:
            recording.buffer.add(pair, EMBEDDING_ALIGNMENT, alignment(left, right))
            self.keep(sides, left, right)


def comparison_of(product: Product) -> Comparison:
    """Return a product as a comparison; one of two transposed matrices correlates their columns over the batch."""
    left, right = product.left, product.right
    sources = (product.left_sources, product.right_sources)
    if _is_transposed(left) and _is_transposed(right) and left.shape[1] == right.shape[1]:
        return Comparison(Compared.FEATURES, left.mT, right.mT, sources, is_paired=True, together=True)
    return Comparison(Compared.LOGITS, left, right, sources)


def _is_transposed(values: Tensor) -> bool:
    """Return whether rows of (N, D) lie across memory, as those of ``features.T`` do."""
    return values.shape[0] > 1 and values.stride(0) == 1 and values.stride(1) > 1
