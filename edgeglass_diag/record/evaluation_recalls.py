"""Follows products of embeddings in an evaluation, and counts how often a row finds its partner in the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.measures.contrast import accuracy
from edgeglass_diag.measures.proportions import wilson_interval
from edgeglass_diag.record.buffer import WindowBuffer
from edgeglass_diag.record.derivations import Product
from edgeglass_diag.record.embedding_sides import EmbeddingSides
from edgeglass_diag.record.embeddings import EmbeddingObserver, comparison_of
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.nested import tensors_in
from edgeglass_diag.record.observer import Function, FunctionHandler, ModuleCall
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import CARRYING, DIAGONALS, EQUALITIES, LEAVING_AS_ARRAYS, RANKINGS, leading
from edgeglass_diag.signals.evaluation import (
    EVALUATION_RECALL,
    EVALUATION_RECALL_CHANCE,
    EVALUATION_RECALL_HIGH,
    EVALUATION_RECALL_LOW,
    EVALUATION_RECALL_ROWS,
)
from edgeglass_diag.sites import Kind

_MOST_PRODUCTS = 2**24
"""Products that are taken of two sides: 64 MiB of them in float32. Of more rows evenly strided ones are asked for."""


@dataclass
class _Tally:
    """What one side was answered.

    Attributes:
        hits: rows that found their partner, of each batch: 0-d, NaN where rows have other partners.
        rows: of all batches.
        chance: how many of them find it where nothing is known.
    """

    hits: list[Tensor] = field(default_factory=list)
    rows: int = 0
    chance: float = 0.0


class EvaluationEmbeddings(EmbeddingObserver):
    """Follows products that a loss takes as logits, or that are ranked, and counts answers.

    Row i of both sides are partners; where labels say otherwise nothing is told. Of products that no loss takes it is
    what is ranked that says so: entries that are found are compared with the rows' own numbers, the diagonal is taken,
    or the products of more rows than one pass has become an array. Only the recalls are measured: the embeddings
    themselves are those of the training but for the samples.

    Args:
        recording: of the evaluation.
        sides: names them.
    """

    def __init__(self, recording: Recording, sides: EmbeddingSides) -> None:
        super().__init__(recording, sides)
        self._tallies: dict[str, _Tally] = {}
        self._site_paths: dict[int, tuple[str, str]] = {}  # by the key of the product
        self._paired: dict[int, list[Tensor]] = {}  # whether labels are the diagonal, by the key of the product
        self._rows = 0  # of the largest pass
        self._ranked: Facts[Tensor, Tensor] = Facts()  # numbers of entries, and the products in which they were found

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        own: dict[Function, FunctionHandler] = dict.fromkeys(RANKINGS, self._rank)
        own |= dict.fromkeys(EQUALITIES, self._compare) | dict.fromkeys(LEAVING_AS_ARRAYS, self._leave)
        carrying: tuple[Function, ...] = (*CARRYING, Tensor.cpu, Tensor.select, Tensor.t)
        own |= dict.fromkeys(carrying, self._carry)
        own |= dict.fromkeys(DIAGONALS, self._diagonal)
        return {**super().functions, **{function: leading(handler) for function, handler in own.items()}}

    def labelled(self, logits: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Note whether row i and column i are partners."""
        product = self._recording.sources.product(logits)
        if product is not None:
            own = torch.arange(len(labels), device=labels.device)
            self._paired.setdefault(product.key, []).append(((labels == own) | (labels < 0)).all())

    def write(self, buffer: WindowBuffer) -> None:
        """Write recalls, what chance gives, and the interval."""
        for product in self._products.values():
            self._count(product)
        for path, tally in self._tallies.items():
            hits = torch.stack([hit.to(tally.hits[0].device) for hit in tally.hits]).sum()
            low, high = wilson_interval(hits, tally.rows)
            buffer.add(path, EVALUATION_RECALL, hits / tally.rows)
            buffer.add(path, EVALUATION_RECALL_LOW, low)
            buffer.add(path, EVALUATION_RECALL_HIGH, high)
            buffer.add(path, EVALUATION_RECALL_CHANCE, tally.chance / tally.rows)
            buffer.add(path, EVALUATION_RECALL_ROWS, float(tally.rows))

    def module_ends(self, call: ModuleCall) -> None:
        """Note how many samples one pass gives out."""
        if call.is_outermost:
            self._rows = max(self._rows, *(len(tensor) for tensor in call.made if tensor.dim() > 1), 0)

    def forget(self) -> None:
        """Release the embeddings of the window."""
        super().forget()
        self._rows = 0
        for known in (self._tallies, self._site_paths, self._paired, self._ranked):
            known.clear()

    def _rank(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        product = self._recording.sources.product(args[0])
        if product is None or product.left.shape != product.right.shape:
            return
        for found in tensors_in(result):
            if not found.is_floating_point():
                self._ranked.set(found, args[0])

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        known = self._ranked.get(args[0]) if isinstance(args[0], Tensor) else None
        if known is not None and isinstance(result, Tensor) and not result.is_floating_point():
            self._ranked.set(result, known)

    def _compare(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """What was found is compared with labels."""
        for found, labels in (args[:2], args[1::-1]) if len(args) > 1 else ():
            if not (isinstance(found, Tensor) and isinstance(labels, Tensor)) or labels.is_floating_point():
                continue
            logits = self._ranked.get(found)
            if logits is not None and labels.numel() % len(logits) == 0:
                of_rows = labels.reshape(len(logits), -1) if labels.shape[:1] == logits.shape[:1] else labels.mT
                self._note_ranked(logits, of_rows.reshape(len(logits), -1)[:, 0])

    def _diagonal(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """The similarities of partners are taken."""
        product = self._recording.sources.product(args[0])
        if product is not None and product.left.shape == product.right.shape and not (args[1:] or kwargs):
            self._note_ranked(args[0], torch.arange(len(args[0]), device=args[0].device))

    def _leave(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """All samples are ranked by what is not torch; of a batch the other side may be as many classes."""
        product = self._recording.sources.product(args[0])
        if product is not None and product.left.shape == product.right.shape and len(product.left) > self._rows:
            self._note_ranked(args[0], torch.arange(len(args[0]), device=args[0].device))

    def _note_ranked(self, logits: Tensor, labels: Tensor) -> None:
        with self._recording.measuring("recall", Kind.EMBEDDING):
            self.reached(logits)
            self.labelled(logits, logits, labels)

    def _measure(self, product: Product, *, first: bool) -> None:
        self._site_paths[product.key], _ = self._names(product, self._sides.of(comparison_of(product)))

    def _count(self, product: Product) -> None:
        left, right = product.left, product.right
        if comparison_of(product).is_of_itself or left.shape != right.shape or len(left) < 2:
            return
        count = len(left)
        own = torch.arange(0, count, math.ceil(count**2 / _MOST_PRODUCTS), device=left.device)
        paired = [each.to(left.device) for each in self._paired.get(product.key, ())]
        sides = (left, right), (right, left)
        for path, (asked, others) in zip(self._site_paths[product.key], sides, strict=True):
            table = asked[own].float() @ others.float().mT
            hits = accuracy(table, own, torch.ones_like(own, dtype=torch.bool)) * len(own)
            if paired:
                hits = torch.where(torch.stack(paired).all(), hits, torch.nan)
            tally = self._tallies.setdefault(path, _Tally())
            tally.hits.append(hits)
            tally.rows += len(own)
            tally.chance += len(own) / count
