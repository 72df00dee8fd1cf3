"""What the recalls of an evaluation say, by the rules for logged recalls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeglass_diag.auditing.audit import audit
from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.records import Finding


def evaluation_findings(values: Mapping[str, Any]) -> list[Finding]:
    """Return the findings about recalls at full width, such as every query having got the same ranking (EG601).

    Images with several captions are not judged: chance is another number for each direction there.

    Args:
        values: of the evaluation, as ``eval --json`` prints them.
    """
    count = values["n_images"]
    if count != values["n_texts"]:
        return []
    recalls = {
        f"{way}/{name}": (float(value),)
        for way in ("i2t", "t2i")
        for name, value in values[way].items()
        if name.startswith("R@")
    }
    table = Table("", {**recalls, "n": (float(count),)})
    return list(audit(Logged("evaluation", "", (table,))).conclusions)
