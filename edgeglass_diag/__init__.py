"""Why does my vision-text alignment model not learn, and what do I change?

``import edgeglass_diag as eg``: ``eg.watch`` records a training, ``eg.load`` opens a run,
``eg.attribute`` says what a similarity rests on. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeglass_diag.evaluation.attribution import Attribution, attribute
    from edgeglass_diag.store import Run, load
    from edgeglass_diag.watching import Watch, watch

__all__ = ["Attribution", "Run", "Watch", "attribute", "load", "watch"]

_HOMES = {
    "Attribution": "evaluate.attribution",
    "Run": "store",
    "Watch": "watching",
    "attribute": "evaluate.attribution",
    "load": "store",
    "watch": "watching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeglass_diag' has no attribute {name!r}")
    import importlib
    import sys

    value = getattr(importlib.import_module(f"edgeglass_diag.{_HOMES[name]}"), name)
    setattr(sys.modules[__name__], name, value)
    return value
