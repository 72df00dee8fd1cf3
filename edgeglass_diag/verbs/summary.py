"""Runs and findings as plain values, for ``--json`` and for tables."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from edgeglass_diag.records import Finding
from edgeglass_diag.store import Run


def finding_summary(finding: Finding) -> dict[str, Any]:
    """A finding as plain values."""
    return plain(dataclasses.asdict(finding))  # type: ignore[no-any-return]


def run_summary(run: Run) -> dict[str, Any]:
    """A run as plain values: losses, recalls, findings, how it ended."""
    result, header = run.result, run.header
    values = {
        "name": run.name,
        "out": str(run.folder),
        "status": run.status,
        "seconds": round(header["ended"] - header["created"], 2) if "ended" in header else None,
        "last_step": run.last_step,
        **{key: result.get(key) for key in ("train_loss", "val_loss", "i2t", "t2i", "n", "chance")},
        "findings": [finding_summary(finding) for finding in run.findings],
    }
    if "error" in result:
        values["error"] = result["error"]
    return plain(values)  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """Values that JSON can hold: NaN and infinities become their names, tuples lists."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
