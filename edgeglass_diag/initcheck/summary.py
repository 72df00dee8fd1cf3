"""A preflight as plain values."""

from __future__ import annotations

from typing import Any

from edgeglass_diag.initcheck.inspect import AttentionAtInit
from edgeglass_diag.initcheck.report import CheckReport, loss, modules, overwritten, probes, reading
from edgeglass_diag.plain_values import finding_summary, plain
from edgeglass_diag.records import ParameterOrigin, ParameterWrite
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS


def check_summary(checked: CheckReport) -> dict[str, Any]:
    """Return the report as ``check --json`` prints it."""
    inspection = checked.inspection
    return plain(  # type: ignore[no-any-return]
        {
            "target": checked.name,
            "verdict": list(checked.verdict),
            "sample": checked.sample,
            "notes": list(checked.notes),
            "parameters": [_parameter(checked, origin) for origin in inspection.origins],
            "attention": [_attention(checked, attention) for attention in inspection.attention],
            "modules": modules(checked),
            "never_called": list(inspection.never_called) if checked.sample else [],
            "loss": loss(checked),
            "probes": probes(checked),
            "findings": [finding_summary(finding) for finding in checked.findings],
        }
    )


def _parameter(checked: CheckReport, origin: ParameterOrigin) -> dict[str, Any]:
    status = checked.statuses.get(origin.name)
    known = next((p for p in checked.inspection.parameters if p.name == origin.name), None)
    return {
        "name": origin.name,
        "shape": list(origin.shape),
        "std": origin.std,
        "writes": [_write(write) for write in origin.writes],
        "overwritten": overwritten(origin),
        "trainable": None if status is None else status.trainable,
        "in_optimizer": None if status is None else status.optimizer,
        "gradient": None if status is None else status.gradient,
        "rows": None if status is None else status.rows,
        "rows_without_gradient": None if status is None else status.unreached,
        "row_signal": None if known is None else known.row_signal,
    }


def _write(write: ParameterWrite) -> dict[str, Any]:
    return {
        "op": write.op, "file": write.file, "line": write.line, "std": write.std,
        "default": write.default, "random": write.random, "partial": write.partial,
    }  # fmt: skip


def _attention(checked: CheckReport, attention: AttentionAtInit) -> dict[str, Any]:
    return {
        "site": attention.site,
        "logit_std": attention.logit_std,
        "predicted_logit_std": attention.predicted_logit_std,
        "entropy": attention.entropy,
        "predicted_entropy": attention.predicted_entropy,
        "distinct": reading(checked, ATTENTION_EFFECTIVE_NUM_OUTPUTS, attention.site),
        "top1": attention.top1,
        "queries": attention.queries,
        "keys": attention.keys,
        "unpredicted": attention.unpredicted,
    }
