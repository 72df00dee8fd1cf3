"""Observes what losses compare other than by logits: cosines, distances, triplets, distributions over prototypes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.compared import Compared
from edgeglass_diag.record.comparison import Comparison, OutputRange
from edgeglass_diag.record.comparison_readings import ComparisonReadings
from edgeglass_diag.record.comparison_rows import distributions_of, first_view, last_view, rows_of
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.nested import arguments_in
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    CARRYING,
    DIFFERENCES,
    LOG_SOFTMAX,
    NEGATIVES,
    REDUCTIONS,
    REGRESSIONS,
    RELUS,
    SCALING,
    SIGMOIDS,
    SOFTMAX,
    TANHS,
    TRIPLETS,
    UNARY,
    bind,
    einsum_operands,
)
from edgeglass_diag.sites import Kind

_RANGES: Mapping[Function, OutputRange] = {
    **dict.fromkeys((*SIGMOIDS, *SOFTMAX), OutputRange(0.0, 1.0)),
    **dict.fromkeys(TANHS, OutputRange(-1.0, 1.0)),
    **dict.fromkeys(RELUS, OutputRange(low=0.0)),
    functional.normalize: OutputRange(is_unit=True),
}


def _same(rows: Tensor) -> Tensor:
    return rows


def _softmax(rows: Tensor) -> Tensor:
    return rows.softmax(-1)


def _probabilities(rows: Tensor) -> Tensor:
    """Return what logarithms of probabilities, or their negatives, are logarithms of."""
    return rows.abs().neg().exp()


def _absolute(rows: Tensor) -> Tensor:
    return rows.abs()


_Made = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""What is made of the rows of each side: probabilities of logits or logarithms."""
_LaidOut = tuple[Callable[[Tensor], Tensor | None], Callable[[Tensor], Tensor | None]]
"""How each side is laid out as rows."""


class ComparisonObserver(Observer):
    """Notes comparisons of sets of embeddings, and has those measured whose result goes backward.

    A difference or a product of two sets of rows is a comparison once it is summed over the dimensions.

    Args:
        recording: state of the watch.
        readings: writes what is measured.
    """

    def __init__(self, recording: Recording, readings: ComparisonReadings) -> None:
        self._recording, self._readings = recording, readings
        self._terms: Facts[Tensor, Comparison] = Facts()
        self._ranges: Facts[Tensor, OutputRange] = Facts()
        self._log_probabilities: Facts[Tensor, bool] = Facts()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(_RANGES, self._ranged)
        table |= dict.fromkeys(DIFFERENCES, self._difference) | dict.fromkeys(SCALING, self._scaled)
        table |= dict.fromkeys(UNARY, self._unary) | dict.fromkeys(REDUCTIONS, self._reduced)
        table |= dict.fromkeys(REGRESSIONS, self._regression) | dict.fromkeys(TRIPLETS, self._triplet)
        table |= dict.fromkeys(LOG_SOFTMAX, self._log_softmax)
        return table | {
            torch.stack: self._stacked,
            functional.cosine_similarity: self._cosine,
            functional.cosine_embedding_loss: self._cosine_embedding,
            functional.pairwise_distance: self._distance,
            torch.cdist: self._all_distances,
            torch.einsum: self._einsum,
            functional.kl_div: self._divergence,
            functional.cross_entropy: self._soft_targets,
        }

    def backward_begins(self, tensors: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
        """Measure the comparisons that these tensors were made from."""
        for tensor in tensors:
            for comparison in self._recording.sources.comparisons(tensor):
                with self._recording.measuring("comparison", Kind.EMBEDDING):
                    self._readings.measure(comparison)

    def forget(self) -> None:
        """Release what belongs to the window."""
        self._readings.forget()
        self._terms.clear()
        self._ranges.clear()
        self._log_probabilities.clear()

    def _note(self, result: Any, compared: Compared, left: Any, right: Any, **facts: Any) -> None:
        comparison = self._comparison(compared, left, right, **facts)
        if comparison is not None and isinstance(result, Tensor):
            self._declare(result, comparison)

    def _declare(self, result: Tensor, comparison: Comparison) -> None:
        self._recording.sources.set_comparison(result, comparison)
        self._readings.follow(result, comparison)

    def _comparison(
        self,
        compared: Compared,
        left: Any,
        right: Any,
        made: _Made = (_same, _same),
        laid_out: _LaidOut = (rows_of, rows_of),
        **facts: Any,
    ) -> Comparison | None:
        """Return two tensors as a comparison; None where they are no sets of rows, or come from no module or from one.

        Args:
            compared: how.
            left: one side.
            right: the other.
            made: what is made of the rows of each side.
            laid_out: how each side is laid out as rows.
            facts: further facts of the comparison.
        """
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            return None
        known = self._recording.sources
        if known.comparisons(left) or known.comparisons(right):
            return None  # as the correlations of features, which are compared with the identity
        sources = known.sources([left]), known.sources([right])
        rows = laid_out[0](left), laid_out[1](right)
        if not any(sources) or rows[0] is None or rows[1] is None or rows[0].shape[1] != rows[1].shape[1]:
            return None
        facts["is_paired"] = left.shape == right.shape and facts.get("is_paired", True)
        facts |= {"learns": (left.requires_grad, right.requires_grad)}
        facts |= {"ranges": (self._ranges.get(left), self._ranges.get(right))}
        return Comparison(compared, made[0](rows[0]), made[1](rows[1]), sources, **facts)

    def _ranged(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor) and result.dim() > 1:
            self._ranges.set(result, _RANGES[func])

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if isinstance(result, Tensor) and result.dim() > 1:
            self._log_probabilities.set(result, True)

    def _difference(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._term(Compared.DISTANCE, func, args, kwargs, result)

    def _scaled(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        operands = given.get("input"), given.get("other")
        if not all(isinstance(operand, Tensor) and operand.dim() > 0 for operand in operands):
            self._unary(func, operands, {}, result)
        elif operands[0] is operands[1]:
            self._unary(torch.square, operands[:1], {}, result)
        elif any(self._is_log_probability(operand) for operand in operands):
            self._distributions(result, *operands)
        else:
            self._term(Compared.SIMILARITY, func, args, kwargs, result)

    def _term(
        self, compared: Compared, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        given, drawn = bind(func, args, kwargs), 1 if compared is Compared.DISTANCE else -1
        operands = given.get("input"), given.get("other")
        unknown = any(isinstance(operand, Tensor) and operand in self._terms for operand in operands)
        term = self._comparison(compared, *operands, drawn=0 if unknown else drawn)
        if term is not None and isinstance(result, Tensor) and result.requires_grad:
            self._terms.set(result, term)

    def _unary(self, func: Function, args: Iterable[Any], kwargs: dict[str, Any], result: Any) -> None:
        for operand in args:
            if isinstance(operand, Tensor) and isinstance(result, Tensor) and operand.shape == result.shape:
                term, logs = self._terms.get(operand), self._log_probabilities.get(operand)
                if term is not None:
                    self._terms.set(result, _turned(term, func))
                if logs:
                    self._log_probabilities.set(result, True)

    def _stacked(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Views of one batch, put together before they are compared."""
        if all(self._is_log_probability(part) for part in arguments_in(args, kwargs)):
            self._log_probabilities.set(result, True)

    def _reduced(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        values = next(iter((*args, *kwargs.values())), None)
        term = self._terms.get(values) if isinstance(values, Tensor) else None
        if term is not None and isinstance(result, Tensor):
            self._declare(result, term)

    def _regression(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note(result, Compared.DISTANCE, given.get("input"), given.get("target"), together=True, drawn=1)

    def _triplet(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        margin = float(given.get("margin", 1.0))
        self._note(result, Compared.DISTANCE, given.get("anchor"), given.get("positive"), margin=margin, drawn=1)

    def _cosine(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note(result, Compared.SIMILARITY, given.get("x1"), given.get("x2"), drawn=-1)

    def _cosine_embedding(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note(result, Compared.SIMILARITY, given.get("input1"), given.get("input2"))

    def _distance(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note(result, Compared.DISTANCE, given.get("x1"), given.get("x2"), drawn=1)

    def _all_distances(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note(result, Compared.DISTANCE, given.get("x1"), given.get("x2"), is_paired=False)

    def _einsum(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        operands = einsum_operands(args)
        if operands is None:
            return
        left, right, *values = operands
        if any(self._is_log_probability(value) for value in values):
            self._distributions(result, *values, of_views=left != right and left[-1] == right[-1])
        elif left == right:
            self._note(result, Compared.SIMILARITY, *values, drawn=-1)

    def _divergence(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        values, target = given.get("input"), given.get("target")
        if isinstance(values, Tensor) and values.dim() == 2:
            made = _probabilities, _probabilities if given.get("log_target", False) else _same
            self._note(result, Compared.ASSIGNMENT, values, target, made=made)

    def _soft_targets(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        values, target = given["input"], given["target"]
        if values.dim() == 2 and target.is_floating_point():
            self._note(result, Compared.ASSIGNMENT, values, target, made=(_softmax, _same))

    def _distributions(self, result: Any, left: Any, right: Any, *, of_views: bool = False) -> None:
        """Note a cross-entropy written as the product of a distribution and of logarithms of another.

        Args:
            result: the product.
            left: one of both, (..., K).
            right: the other.
            of_views: whether they are (V, B, K) and (W, B, K), of all views, and all are compared with all.
        """
        logs, target = (left, right) if self._is_log_probability(left) else (right, left)
        alike = logs.shape[1:] == target.shape[1:] if of_views else logs.shape == target.shape
        if alike and not self._is_log_probability(target):
            laid_out = (last_view, first_view) if of_views else (distributions_of, distributions_of)
            made = _probabilities, _absolute
            self._note(result, Compared.ASSIGNMENT, logs, target, made=made, laid_out=laid_out)

    def _is_log_probability(self, operand: Any) -> bool:
        return isinstance(operand, Tensor) and bool(self._log_probabilities.get(operand))


def _turned(term: Comparison, func: Function) -> Comparison:
    """Return a term after a function of each entry: the negative draws the other way, a power of a product either."""
    if func in NEGATIVES:
        return replace(term, drawn=-term.drawn)
    if func in CARRYING or (term.compared is Compared.DISTANCE and func not in SCALING):
        return term
    return replace(term, drawn=0)
