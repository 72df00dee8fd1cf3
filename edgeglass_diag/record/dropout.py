"""Observes dropout: how much of what it is given it takes away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn import functional

from edgeglass_diag.record.functions import Function, Observer
from edgeglass_diag.record.session import Session


class DropoutTap:
    """Observers that write ``dropout/p`` for each dropout of a training forward pass, at the module that asks for it.

    Args:
        session: state of the watch.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def observers(self) -> Mapping[Function, Observer]:
        """The functions observed."""
        dropouts = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
        table: dict[Function, Observer] = dict.fromkeys(dropouts, self._dropout)
        return table | {functional.scaled_dot_product_attention: self._attention}

    def _dropout(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
        self._note(float(given.get("p", 0.5)) if given.get("training", True) else 0.0)

    def _attention(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._note(float(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)))

    def _note(self, share: float) -> None:
        if share > 0 and self._session.stack:
            self._session.buffer.add(self._session.stack[-1].site, "dropout/p", share)
