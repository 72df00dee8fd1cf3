"""What the verbs print on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edgeglass_diag.records import Finding
from edgeglass_diag.store import Run
from edgeglass_diag.verbs.live import finding_line


def findings_text(run: Run) -> Iterator[str]:
    """Findings of a run, causes first, what follows from them indented below."""
    found = run.findings
    yield f"{escape(str(run.folder))}: {run.status}, {_steps(run)}, {len(found) or 'no'} findings"
    codes = {finding.code for finding in found}
    for finding in found:
        if finding.because_of not in codes:
            yield from _nested(finding, found, depth=0, above=())


def _steps(run: Run) -> str:
    """A program notes its rank at its first step; before it there is at most the window that never ended."""
    if "program" in run.header and not any("rank" in other.header for other in run.ranks.values()):
        return f"no optimizer step (windows recorded: {run.windows})"
    return f"{run.last_step + 1} steps"


def _nested(finding: Finding, found: list[Finding], *, depth: int, above: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * depth
    yield indent + finding_line(finding)
    yield f"{indent}         fix: {escape(finding.fix)}"
    first = next(f for f in found if f.code == finding.code)
    if finding is first and finding.code not in above:
        for other in found:
            if other.because_of == finding.code:
                yield from _nested(other, found, depth=depth + 1, above=(*above, finding.code))


def comparison_table(comparison: dict[str, Any]) -> Iterator[RenderableType]:
    """Runs as columns."""
    runs = comparison["runs"]
    table = Table("", *(escape(run["name"]) for run in runs))
    for label, cells in _comparison_rows(runs):
        table.add_row(label, *cells)
    yield table
    for run in runs:
        for finding in run["findings"]:
            because = f", because of {finding['because_of']}" if finding["because_of"] else ""
            head = f"{run['name']}: {finding['severity']} {finding['code']} {finding['name']}"
            yield escape(f"{head} (step {finding['step']}{because}): {finding['message']}")
    apart = comparison["first_divergence"]
    if apart is not None:
        values = ", ".join(f"{name} {value:.3g}" for name, value in apart["loss_over_chance"].items())
        yield f"the losses part at step {apart['step']} (loss / chance: {escape(values)})"


def _comparison_rows(runs: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    yield "status", [run["status"] for run in runs]
    for key in ("train_loss", "val_loss"):
        yield key.replace("_", " "), [_number(run.get(key)) for run in runs]
    for way in ("i2t", "t2i"):
        for k in ("R@1", "R@5", "R@10"):
            yield f"{way} {k}", [_number((run.get(way) or {}).get(k)) for run in runs]
    yield "chance t2i R@1", [_number((run.get("chance") or {}).get("R@1")) for run in runs]
    for severity in ("critical", "warning", "info"):
        yield severity, [str(sum(f["severity"] == severity for f in run["findings"])) for run in runs]


def _number(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4f}"


def catalogue_table(entries: list[dict[str, Any]]) -> Table:
    """All rules in short."""
    table = Table("code", "name", "severity", "what")
    for entry in entries:
        table.add_row(entry["code"], entry["name"], entry["severity"], escape(entry["summary"]))
    return table
