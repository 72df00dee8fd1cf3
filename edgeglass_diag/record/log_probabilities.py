"""Observes logarithms of a softmax, however they are made, until a loss takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.compared import Compared
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import (
    CARRYING,
    DIFFERENCES,
    DIVISIONS,
    EXPONENTIALS,
    GATHERS,
    LOG_SOFTMAX,
    LOGARITHMS,
    LOGSUMEXP,
    NEGATIVES,
    RESHAPES,
    SCALING,
    SOFTMAX,
    SUMS,
    TOTALS,
    bind,
    leading,
)
from edgeglass_diag.sites import LossFunction, Task

ROW_DIMS: tuple[object, ...] = (1, -1, (1,), (-1,), [1], [-1])
"""How the candidates of rows (N, C) are named."""

_KEPT = 2**22
"""Entries up to which what a head gives is followed: captioners have more, and losses of torch's own."""

_SAFETY = 1e-4
"""Largest number that is added to a denominator to keep it from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class LogProbabilities:
    """Logarithms of a softmax of logits, whose loss may yet be told by a function that takes them.

    Attributes:
        path: of the loss if none does.
        result: the logarithms, as autograd knows them.
        logits: that they were made of.
        rows: the same, detached, laid out as rows of candidates; -inf where a mask left one out.
        across: whether ``result`` lies across these rows.
        task: contrastive where the logits are products of embeddings.
        is_picked: whether labels have picked entries of them.
    """

    path: str
    result: Tensor
    logits: Tensor
    rows: Tensor
    across: bool
    task: Task
    is_picked: bool = False

    def laid_out(self, values: Tensor) -> Tensor:
        """Return something of the shape of ``result`` as the rows are."""
        return values.mT if self.across else values.flatten(0, -2)


@dataclass(frozen=True, slots=True, eq=False)
class _Terms:
    """Exponentials of logits, on their way to the denominator of a softmax, or its logarithm.

    Attributes:
        logits: that they are made of.
        values: the same, detached; -inf where a mask has left one out.
        across: whether they were summed along the first dimension.
        made: identity of the exponentials, or of what ``logsumexp`` gave.
    """

    logits: Tensor
    values: Tensor
    made: int
    across: bool = False


class LogProbabilityObserver(Observer):
    """Keeps the logarithms of a softmax that no function of a loss has taken: of products of embeddings, and of heads.

    Known are ``log_softmax``, ``softmax`` or exponentials over their sum with ``log``, and logits less the logarithm
    of the sum of their exponentials, as supervised contrasts are written. Those of a head are a loss once labels have
    picked entries of them; other uses (routers, policies' entropies, teachers) have no labels.

    Args:
        recording: state of the watch.
        without_gradients: whether what is followed is computed without gradients, so that they tell nothing.

    Attributes:
        taken: identities of the exponentials and logarithms of sums that have become log-probabilities.
    """

    def __init__(self, recording: Recording, *, without_gradients: bool = False) -> None:
        self._recording, self._without_gradients = recording, without_gradients
        self._softmaxes: Facts[Tensor, tuple[Tensor, bool]] = Facts()
        self._terms: Facts[Tensor, _Terms] = Facts()
        self._sums: Facts[Tensor, _Terms] = Facts()
        self._denominators: Facts[Tensor, _Terms] = Facts()
        self._one_hot: Facts[Tensor, bool] = Facts()
        self._open: dict[int, LogProbabilities] = {}
        self.taken: set[int] = set()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed."""
        table: dict[Function, FunctionHandler] = dict.fromkeys(LOG_SOFTMAX, self._log_softmax)
        table |= dict.fromkeys(SOFTMAX, self._softmax) | dict.fromkeys(LOGARITHMS, self._log)
        table |= dict.fromkeys(LOGSUMEXP, self._logsumexp) | dict.fromkeys(EXPONENTIALS, self._exp)
        table |= dict.fromkeys(TOTALS, self._total) | dict.fromkeys(SUMS, self._add)
        table |= dict.fromkeys((*CARRYING, *NEGATIVES), self._carry)
        table |= dict.fromkeys((*RESHAPES, Tensor.unsqueeze, torch.unsqueeze), self._reshape)
        table |= dict.fromkeys(DIVISIONS, self._divide) | dict.fromkeys(DIFFERENCES, self._subtract)
        table |= dict.fromkeys(SCALING, self._scale) | dict.fromkeys(GATHERS, self._pick)
        table |= {Tensor.__getitem__: self._index, functional.one_hot: self._one_hot_made}
        table |= {functional.nll_loss: self._taken_by_loss, functional.kl_div: self._taken_by_divergence}
        return {function: leading(handler) for function, handler in table.items()}

    def losses(self) -> list[LogProbabilities]:
        """Return, and forget, those that go into a loss that no function tells."""
        found = [known for known in self._open.values() if known.is_picked or known.task is Task.CONTRASTIVE]
        self._open.clear()
        return found

    def forget(self) -> None:
        """Release the logits of the window."""
        for facts in (self._softmaxes, self._terms, self._sums, self._denominators, self._one_hot):
            facts.clear()
        self._open.clear()
        self.taken.clear()

    def _log_softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        self._note(result, given["input"], given["input"].detach(), across=self._is_across(given))

    def _softmax(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        if self._task(given["input"]) is not None:
            self._softmaxes.prune()
            self._softmaxes.set(result, (given["input"], self._is_across(given)))

    def _log(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        softmax, total = self._softmaxes.get(args[0]), self._sums.get(args[0])
        if softmax is not None:
            self._note(result, softmax[0], softmax[0].detach(), across=softmax[1])
        elif total is not None:
            self._denominators.set(result, total)

    def _logsumexp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = bind(func, args, kwargs)
        logits = given["input"]
        if self._task(logits) is not None:
            self._denominators.set(result, _Terms(logits, logits.detach(), id(result), self._is_across(given)))

    def _exp(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._task(args[0]) is not None:
            self._terms.set(result, _Terms(args[0], args[0].detach(), id(result)))

    def _scale(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Exponentials times a mask leave candidates out; log-probabilities times one-hot labels are picked."""
        for one, other in (args[:2], args[1::-1]) if len(args) > 1 else ():
            terms = self._terms.get(one) if isinstance(one, Tensor) else None
            if terms is not None and isinstance(other, Tensor) and other.shape == one.shape:
                kept = terms.values.masked_fill(other.detach() == 0, -torch.inf)
                self._terms.set(result, replace(terms, values=kept))
            if isinstance(one, Tensor) and one in self._one_hot:
                self._picked(other)

    def _total(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        terms = self._terms.get(args[0])
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if terms is not None and dim is not None:
            self._sums.set(result, replace(terms, across=dim not in ROW_DIMS))

    def _carry(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """One-hot labels may be converted, and have another sign."""
        if args[0] in self._one_hot and isinstance(result, Tensor) and result.shape == args[0].shape:
            self._one_hot.set(result, True)

    def _reshape(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Denominators are laid out for division, or their logarithms for a difference."""
        for facts in (self._sums, self._denominators):
            known = facts.get(args[0])
            if known is not None and result.numel() == args[0].numel():
                facts.set(result, known)
        self._carry(func, args, kwargs, result)

    def _add(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A small number is added to a denominator for safety."""
        known = self._sums.get(args[0])
        if known is not None and isinstance(args[-1], float) and args[-1] <= _SAFETY:
            self._sums.set(result, known)

    def _divide(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        terms, total = self._terms.get(args[0]), self._sums.get(args[1]) if len(args) > 1 else None
        if terms is not None and total is not None and terms.logits is total.logits:
            self._softmaxes.set(result, (terms.logits, total.across))
            self.taken.add(terms.made)

    def _subtract(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Logits less the logarithm of the sum of their exponentials."""
        terms = self._denominators.get(args[1]) if len(args) > 1 and isinstance(args[1], Tensor) else None
        if terms is not None and result.shape == terms.values.shape == args[0].shape:
            self._note(result, terms.logits, terms.values, across=terms.across)
            self.taken.add(terms.made)

    def _index(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if any(isinstance(one, Tensor) and not one.is_floating_point() for one in index):
            self._picked(args[0])
        else:
            self._reshape(func, args, kwargs, result)

    def _pick(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._picked(args[0])

    def _picked(self, values: object) -> None:
        known = self._open.get(id(values))
        if known is not None:
            self._open[id(values)] = replace(known, is_picked=True)

    def _one_hot_made(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._one_hot.set(result, True)

    def _taken_by_loss(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._open.pop(id(bind(func, args, kwargs)["input"]), None)

    def _taken_by_divergence(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A divergence from labels is a cross-entropy of products, and of a head it is a teacher's."""
        known = self._open.get(id(bind(func, args, kwargs)["input"]))
        if known is not None and known.task is not Task.CONTRASTIVE:
            del self._open[id(known.result)]

    def _counts(self, tensor: Tensor) -> bool:
        return self._without_gradients or tensor.requires_grad

    def _task(self, logits: Tensor) -> Task | None:
        """Return what a softmax of these logits may be a loss of; None where it is none."""
        sources = self._recording.sources
        if not self._counts(logits) or logits.dim() < 2:
            return None
        if logits.dim() == 2 and (sources.product(logits) is not None or self._is_square_of_distances(logits)):
            return Task.CONTRASTIVE
        if logits.dim() > 3 or logits.numel() > _KEPT or not sources.is_output(logits):
            return None
        return Task.CLASSIFICATION if logits.dim() == 2 else Task.GENERATION

    def _is_square_of_distances(self, logits: Tensor) -> bool:
        """Return whether rows of a batch were compared by their distances with as many others, and not with centres."""
        comparisons = self._recording.sources.comparisons(logits)
        if len(comparisons) != 1 or logits.shape[0] != logits.shape[1]:
            return False
        return comparisons[0].compared is Compared.DISTANCE and not comparisons[0].is_paired

    def _is_across(self, given: Mapping[str, Any]) -> bool:
        return given.get("dim", -1) not in (ROW_DIMS if given["input"].dim() == 2 else (-1, 2))

    def _note(self, result: Tensor, logits: Tensor, values: Tensor, *, across: bool) -> None:
        task = self._task(logits)
        if task is None or not self._counts(result) or (across and task is not Task.CONTRASTIVE):
            return
        path = self._recording.stack.loss_path(LossFunction.LOG_SOFTMAX)
        known = LogProbabilities(path, result, logits, values, across, task)
        self._open[id(result)] = replace(known, rows=known.laid_out(values))
