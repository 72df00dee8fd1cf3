"""The verb ``findings``: what was found in a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.gate import Gate
from edgeglass_diag.commands.options import AsJson, BaselineFile, FailOn, SarifFile, UpdateBaseline
from edgeglass_diag.commands.output import print_json, print_parts


def findings(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: AsJson = False,
    fail_on: FailOn = None,
    sarif: SarifFile = None,
    baseline: BaselineFile = None,
    update: UpdateBaseline = False,
) -> None:
    """What was found in a run: code, severity, where, when, evidence, what to do, and what explain has shown of it."""
    from edgeglass_diag.commands.render.findings import findings_text
    from edgeglass_diag.gate.subjects import of_run, shortfall
    from edgeglass_diag.plain_values import finding_summary
    from edgeglass_diag.store import load

    gate = Gate.of(fail_on, sarif, baseline, update)
    with load(folder) as opened:
        found = opened.findings
        if fault := opened.explained.fault:
            print(fault, file=sys.stderr)
        if as_json:
            print_json([finding_summary(finding) for finding in found])
        else:
            print_parts(findings_text(opened))
        judged, incomplete = of_run(opened), shortfall(opened)
    gate.end([judged], incomplete=incomplete)
