"""Observes contrasts of ranks that train together: which candidates were gathered, and how they are labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from edgeglass_diag.measures.batches import fingerprint, row_fingerprints
from edgeglass_diag.own_rank import known_world_size
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import MATMULS, bind
from edgeglass_diag.signals.ranks import (
    CONTRAST_CANDIDATES,
    CONTRAST_DIGEST,
    CONTRAST_LABEL,
    CONTRAST_LEARNING,
    CONTRAST_ROWS,
)
from edgeglass_diag.sites import Kind

_DEPTH = 32
"""Functions behind a tensor among which the one that joins the parts of a gather is looked for."""
_ALIKE = 0.9999
"""Mean cosine of rows from which on they are the same, scaled: float16 rounds a cosine to 1e-3 of a unit vector's
entries, which moves it by 1e-6."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What a product has as candidates.

    Attributes:
        left: (B, D) detached rows.
        right: (N, D) detached candidates.
        learns: whether a gradient flows into the rows.
        learning: share of the candidates that a gradient flows into.
    """

    left: Tensor
    right: Tensor
    learns: bool
    learning: float


class RankContrastObserver(Observer):
    """Writes ``contrast/*`` of cross-entropies over products of embeddings, where several processes train.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._products: dict[tuple[int, int], _Candidates] = {}
        self._contrasts: list[_Candidates] = []

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = {functional.cross_entropy: self._cross_entropy}
        return table | dict.fromkeys(MATMULS, self._matmul) | {functional.linear: self._linear}

    def window_ends(self) -> None:
        """Write whether a gradient flows into gathered candidates, where the own ones are known to be among them."""
        own = [contrast.left for contrast in self._contrasts if contrast.learns]
        with self._recording.measuring("contrasts", Kind.RECORDER):
            for contrast in self._contrasts:
                if len(contrast.right) > len(contrast.left):
                    self._recording.buffer.add("", CONTRAST_LEARNING, _share(contrast, own))

    def forget(self) -> None:
        """Release the embeddings of the window."""
        self._products.clear()
        self._contrasts.clear()

    def _matmul(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        left, right = given.get("input"), given.get("other")
        if isinstance(left, Tensor) and isinstance(right, Tensor) and right.dim() == 2:
            self._note(left, right, right.detach().mT)

    def _linear(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if given["weight"].dim() == 2 and not isinstance(given["weight"], Parameter):
            self._note(given["input"], given["weight"], given["weight"].detach())

    def _note(self, left: Tensor, right: Tensor, candidates: Tensor) -> None:
        size = known_world_size() or 1
        if size < 2 or left.dim() != 2 or isinstance(right, Parameter) or left.shape[1] != candidates.shape[1]:
            return
        if len(left) > 1 and len(candidates) in (len(left), size * len(left)):
            noted = _Candidates(left.detach(), candidates, left.requires_grad, _learning(right))
            self._products[left.data_ptr(), candidates.data_ptr()] = noted

    def _cross_entropy(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logits, target = given["input"], given["target"]
        product = self._recording.sources.product(logits) if self._products else None
        if product is None:
            return
        noted = self._products.get((product.left.data_ptr(), product.right.data_ptr()))
        if noted is None or logits.shape != (len(noted.left), len(noted.right)):
            return
        self._contrasts.append(noted)
        add = self._recording.buffer.add
        with self._recording.measuring("contrasts", Kind.RECORDER):
            add("", CONTRAST_ROWS, float(len(noted.left)))
            add("", CONTRAST_CANDIDATES, float(len(noted.right)))
            add("", CONTRAST_DIGEST, fingerprint(row_fingerprints(noted.right)))
            if not target.is_floating_point() and target.dim() == 1:
                offsets = target - torch.arange(len(target), device=target.device)
                same = (offsets == offsets[0]).all()
                add("", CONTRAST_LABEL, torch.where(same, offsets[0].double(), torch.nan))


def _learning(candidates: Tensor) -> float:
    """Return the share of candidates that a gradient flows into, by the parts that were joined into them.

    A gather that carries gradients is one function whose parts all have them. One that does not gives parts without,
    among which a program may put its own part.
    """
    if not candidates.requires_grad:
        return 0.0
    node = candidates.grad_fn
    for _ in range(_DEPTH):
        if node is None:
            break
        following = [function for function, _ in node.next_functions]
        if type(node).__name__.startswith(("CatBackward", "StackBackward")):
            return sum(function is not None for function in following) / len(following)
        node = next((function for function in following if function is not None), None)
    return 1.0


def _share(contrast: _Candidates, own: list[Tensor]) -> Tensor | float:
    """Return the share of candidates that learn; NaN where none does and none of them is known to be a row that does.

    The candidates of another model, as of a momentum encoder or a frozen tower, have no gradient to carry.
    """
    if contrast.learning > 0:
        return contrast.learning
    held = [_holds(contrast.right, rows) for rows in own if len(contrast.right) % len(rows) == 0]
    return torch.where(torch.stack(held).any(), 0.0, torch.nan) if held else torch.nan


def _holds(candidates: Tensor, rows: Tensor) -> Tensor:
    """Return whether one block of candidates (k B, D) is these rows (B, D), but for their lengths: 0-d."""
    blocks = functional.normalize(candidates.float(), dim=-1).view(-1, *rows.shape)
    alike = (blocks * functional.normalize(rows.float(), dim=-1)).sum(-1).mean(-1)
    return (alike > _ALIKE).any()
