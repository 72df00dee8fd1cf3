"""A preflight as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeglass_diag.initcheck.report import loss, modules
from edgeglass_diag.notebooks.document import Block, Document, Folded, Headline, Table, Text
from edgeglass_diag.notebooks.of_findings import findings_document
from edgeglass_diag.verdict import say

if TYPE_CHECKING:
    from edgeglass_diag.initcheck.report import CheckReport

MOST = 100
"""Modules and parameters that are shown; of more, the first."""


def check_document(checked: CheckReport) -> Document:
    """Return the verdict, the findings, and what was measured along the model."""
    worst = max(checked.findings, key=lambda finding: finding.severity.rank, default=None)
    tone = "good" if worst is None else str(worst.severity)
    first, *others = checked.verdict or ("Checked",)
    blocks: list[Block] = [Headline("OK" if worst is None else tone.upper(), tone, first)]
    blocks += [Text(line) for line in others]
    blocks.append(Text(f"{checked.name}: {checked.sample or 'no batch'}", quiet=True))
    if checked.findings:
        blocks += findings_document(checked.findings)
    if (level := loss(checked)) is not None:
        blocks.append(Table(tuple(level), [[_number(value) for value in level.values()]], "loss before the first step"))
    if rows := [_module(module) for module in modules(checked)]:
        table = Table(("module", "class", "rms", "sample signal", "gradient"), rows[:MOST])
        blocks.append(Folded(f"{len(rows)} modules", [table]))
    return [*blocks, *(Text(note, quiet=True) for note in checked.notes)]


def _module(module: dict[str, object]) -> list[str]:
    numbers = [_number(module[key]) for key in ("rms", "sample_signal", "gradient")]
    return [str(module["site"] or "(model)"), str(module["kind"]), *numbers]


def _number(value: object) -> str:
    return "–" if value is None else say(value)
