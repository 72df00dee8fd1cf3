"""Findings in words, in console markup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.markup import escape

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.render.findings import count_text, mark_text, sites_text, thinned_text

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def finding_line(finding: Finding) -> str:
    """Return one finding as one line of console markup."""
    style = STYLES[finding.severity]
    because = f" (because of {finding.because_of})" if finding.because_of else ""
    head = f"[{style}]{finding.severity.upper():8s}[/] {finding.code} {finding.name} at step {finding.step}{because}"
    where = f"; {sites_text(finding)}" if len(finding.sites) > 1 else ""
    return f"{head}: {escape(finding.message + where)}"


def findings_text(run: Run) -> Iterator[str]:
    """Yield the findings of a run, causes first, what follows from them indented below."""
    found = run.findings
    yield f"{escape(str(run.folder))}: {run.status}, {_steps(run)}, {count_text(len(found), run.record)}"
    for cut in run.cuts:
        yield f"resumed at step {cut.step} (steps are counted on from those recorded): {escape(' '.join(cut.command))}"
    if said := thinned_text(run.thinned):
        yield said
    yield from nested_text(found)


def nested_text(found: list[Finding]) -> Iterator[str]:
    """Yield findings, causes first, what follows from them indented below."""
    codes = {finding.code for finding in found}
    for finding in found:
        if finding.because_of not in codes:
            yield from _nested(finding, found, depth=0, above=())


def _steps(run: Run) -> str:
    """Return the number of steps in words; a program notes its rank at its first step, before it there is none."""
    if "program" in run.header and not any("rank" in other.header for other in run.ranks.values()):
        return f"no optimizer step (windows recorded: {run.windows})"
    return f"{run.record.taken} steps"


def _nested(finding: Finding, found: list[Finding], *, depth: int, above: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * depth
    yield indent + finding_line(finding)
    yield f"{indent}         fix: {escape(finding.fix)}"
    if said := mark_text(finding):
        yield f"{indent}         {escape(said)}"
    first = next(f for f in found if f.code == finding.code)
    if finding is first and finding.code not in above:
        for other in found:
            if other.because_of == finding.code:
                yield from _nested(other, found, depth=depth + 1, above=(*above, finding.code))
