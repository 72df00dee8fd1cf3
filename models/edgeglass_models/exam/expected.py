"""Which rules name an operator's fault: codes by the operator's name, more than one where several names are right.

An operator that is not in it is named by none; ``python -m edgeglass_models.exam`` says how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping

EXPECTED: Mapping[str, tuple[str, ...]] = {}
