"""Whether a trained model is any good, and what its scores rest on: embeddings in, plain values out.

``attribute`` needs torch; the rest does not, and who imports that never loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeglass_diag.evaluate.attribution import Attribution, attribute

__all__ = ["Attribution", "attribute"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgeglass_diag.evaluate' has no attribute {name!r}")
    from edgeglass_diag.evaluate import attribution

    return getattr(attribution, name)
