"""Observes the loss at its function, the embeddings behind its logits, and the scalar that goes backward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional
from torch.nn.functional import normalize

from edgeglass_diag.measures.geometry import alignment, effective_rank, mean_cosine, modality_gap, sample_signal
from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.lineage import Product
from edgeglass_diag.record.session import Session

MATMULS: tuple[Function, ...] = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)
_CROSS_ENTROPY = (
    "input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"
)  # fmt: skip


class LossTap:
    """Observers that write ``loss/*`` and ``embedding/*``.

    The weight of each cross-entropy in the whole loss is read off the gradient that reaches it, so that the
    chance level of the whole, the sum of weight x ln(candidates), needs no knowledge of the training code.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._products: dict[int, Product] = {}

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        table: dict[Function, Observer] = {
            functional.cross_entropy: self._cross_entropy,
            functional.linear: self._linear,
            torch.einsum: self._einsum,
            Tensor.backward: self._backward,
        }
        return table | dict.fromkeys(MATMULS, self._matmul)

    def end_window(self) -> None:
        """Release the embeddings of the window."""
        self._products.clear()

    def _matmul(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(("left", "right"), args, strict=False)) | kwargs
        left, right = given.get("left", given.get("input")), given.get("right", given.get("other", given.get("mat2")))
        if isinstance(left, Tensor) and isinstance(right, Tensor) and right.dim() == 2:
            self._note_product(left, right.mT, result)

    def _linear(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) >= 2 and args[1].dim() == 2:
            self._note_product(args[0], args[1], result)

    def _einsum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(args) == 3 and isinstance(args[1], Tensor) and isinstance(args[2], Tensor):
            inputs = str(args[0]).replace(" ", "").split("->")[0].split(",")
            if len(inputs) == 2 and len(inputs[0]) == len(inputs[1]) == 2 and inputs[0][1] == inputs[1][1]:
                self._note_product(args[1], args[2], result)

    def _note_product(self, left: Tensor, right: Tensor, result: Any) -> None:
        if left.dim() != 2 or isinstance(left, Parameter) or isinstance(right, Parameter) or len(left) < 2:
            return
        base = right._base if right._base is not None else right
        if isinstance(base, Parameter) or not isinstance(result, Tensor):
            return
        lineage = self._session.lineage
        sources = lineage.sources([left]), lineage.sources([right, base])
        if all(sources):
            lineage.set_product(result, Product(left.detach(), right.detach(), *sources))

    def _backward(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        session = self._session
        session.calls.clear()
        with session.measuring("", "loss", args[0]):
            session.buffer.add("", "loss/total", args[0].detach().double().sum())

    def _cross_entropy(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        session = self._session
        given = dict(zip(_CROSS_ENTROPY, args, strict=False)) | kwargs
        logits, target = given["input"], given["target"]
        path = session.stack[-1].site if session.stack else ""
        site = session.occurrence(f"{path}.cross_entropy" if path else "cross_entropy")
        if logits.dim() != 2:
            session.cannot_observe(site, "loss", f"cross-entropy of {logits.dim()}-D logits is not a contrastive loss")
            return
        reduction = given.get("reduction", "mean")
        with session.measuring(site, "loss", logits):
            rows, candidates = logits.shape
            count = rows if reduction == "sum" else 1
            session.see(site, "loss", label=reduction)
            add = partial(session.buffer.add, site)
            add("loss/value", result.detach().double().mean() / count)
            add("loss/rows", float(rows))
            add("loss/candidates", float(candidates))
            values = logits.detach().float()
            add("loss/logit_std", values.var(dim=-1, correction=0).mean().sqrt())
            add("loss/logit_max", values.abs().amax())
            add("loss/is_probability", _is_probability(values))
            if not target.is_floating_point():
                add("loss/accuracy", (values.argmax(-1) == target).double().mean())
                square = rows == candidates
                add(
                    "loss/labels_ordered", (target == torch.arange(rows, device=target.device)).all() if square else 0.0
                )
            add("loss/label_smoothing", float(given.get("label_smoothing", 0.0)))
            if result.requires_grad:
                result.register_hook(partial(self._weigh, site, result.detach(), math.log(candidates) * count))
            product = session.lineage.product(logits)
            if product is not None and id(product) not in self._products:
                self._products[id(product)] = product
                self._embeddings(product, values, first=len(self._products) == 1)

    def _weigh(self, site: str, value: Tensor, chance: float, gradient: Tensor) -> None:
        with self._session.measuring(site, "loss", gradient):
            weight = gradient.detach().double()
            self._session.buffer.add(site, "loss/weight", weight.sum())
            self._session.buffer.add("", "loss/chance", (weight * chance).sum())
            self._session.buffer.add("", "loss/explained", (weight * value.double()).sum())

    def _embeddings(self, product: Product, logits: Tensor, *, first: bool) -> None:
        session = self._session
        left, right = product.left.float(), product.right.float()
        names = self._side_names(product)
        pair = f"{names[0]} x {names[1]}"
        for name, values in zip(names, (left, right), strict=True):
            session.see(name, "embedding", parents=(name.rsplit("[", 1)[0],), label=_side(name))
            lengths = values.norm(dim=-1)
            unit = normalize(values, dim=-1)
            session.buffer.add(name, "embedding/norm", lengths.mean())
            session.buffer.add(name, "embedding/norm_spread", lengths.std(correction=0) / lengths.mean())
            session.buffer.add(name, "embedding/sample_signal", sample_signal(unit))
            session.buffer.add(name, "embedding/mean_cosine", mean_cosine(values))
            if first:
                session.buffer.add(name, "embedding/effective_rank", effective_rank(values))
        cosines = normalize(left, dim=-1) @ normalize(right, dim=-1).mT
        size = cosines.square().sum()
        session.see(pair, "pairs", parents=names)
        session.buffer.add(pair, "embedding/scale", (logits.square().sum() / size).sqrt())
        session.buffer.add(pair, "embedding/gap", modality_gap(left, right))
        if left.shape == right.shape:
            session.buffer.add(pair, "embedding/alignment", alignment(left, right))

    def _side_names(self, product: Product) -> tuple[str, str]:
        left, right = self._ancestors(product.left_sources), self._ancestors(product.right_sources)
        width = product.left.shape[1]
        names = []
        for own, other, fallback in ((left, right, "left"), (right, left, "right")):
            shared = {site.split("#")[0] for site in other}
            mine = [site for site in own if site.split("#")[0] not in shared]
            names.append(f"{mine[0] if mine else fallback}[:{width}]")
        return names[0], names[1]

    def _ancestors(self, sources: tuple[str, ...]) -> list[str]:
        """Sites behind a tensor, nearest first."""
        found: dict[str, None] = {}
        level = list(reversed(sources))
        while level:
            found |= dict.fromkeys(level)
            level = [p for site in level for p in reversed(self._session.parents.get(site, ())) if p not in found]
        return list(found)


def _is_probability(values: Tensor) -> Tensor:
    """1 where every row is a distribution already, as after a softmax; logits of that kind are softmaxed twice."""
    sums_to_one = ((values.sum(-1) - 1).abs() < 1e-3).all()
    return ((values >= 0).all() & sums_to_one).float()


_IMAGE_WORDS = ("image", "visual", "vision", "img", "pixel", "picture")
_TEXT_WORDS = ("text", "txt", "caption", "language", "token", "word", "sentence")


def _side(name: str) -> str:
    lowered = name.lower()
    if any(word in lowered for word in _IMAGE_WORDS):
        return "image"
    return "text" if any(word in lowered for word in _TEXT_WORDS) else "side"
