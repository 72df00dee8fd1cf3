"""Whether what evaluation passes give out is turned into answers, as a metric does and a sampler does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgeglass_diag.record.observer import Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.signals.evaluation import EVALUATION_ANSWERS

_CHOOSING: frozenset[Function] = frozenset(
    {
        getattr(owner, name)
        for owner in (torch, Tensor)
        for name in ("argmax", "topk", "sort", "argsort", "max", "eq", "gt", "ge", "lt", "le")
    }
    | {Tensor.__eq__, Tensor.__gt__, Tensor.__ge__, Tensor.__lt__, Tensor.__le__}
)
"""Functions that choose among values, or compare with a label or a threshold."""


class AnswerObserver(Observer):
    """Writes ``evaluation/answers``.

    Args:
        recording: of the evaluation.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """The functions observed, of what an evaluation pass has given out."""
        return dict.fromkeys(_CHOOSING, self._chosen)

    def _chosen(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._recording.stack.frames or (isinstance(result, Tensor) and result.dim() == 0):
            return  # inside of a model, or its largest value
        self._recording.buffer.add("", EVALUATION_ANSWERS, 1.0)
