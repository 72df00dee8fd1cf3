"""How a run stands, in few words: what the title, the icon of the tab and the toasts say."""

from __future__ import annotations

from typing import Any

from edgeglass_dashboards.finding_links import link_to
from edgeglass_diag.headline import title_of
from edgeglass_diag.records import RunStatus, Severity
from edgeglass_diag.store import Run

_MOST = 40


def run_state(run: Run, path: str) -> dict[str, Any]:
    """Return how a run stands: its tone, and the findings that are at least a warning, worst first.

    Args:
        run: the run.
        path: of it below the runs folder, which tells one run from another.
    """
    severe = [finding for finding in run.findings if finding.severity is not Severity.INFO]
    status = run.status
    tone = {RunStatus.RUNNING: "running", RunStatus.FINISHED: "good"}.get(status, "warning")
    return {
        "run": path,
        "status": str(status),
        "tone": str(severe[0].severity) if severe else tone,
        "findings": [
            {
                "key": f"{finding.code} {finding.site}",
                "severity": str(finding.severity),
                "title": f"{finding.code} {title_of(finding, run.rules)}",
                "message": f"Since step {finding.onset}. {finding.message}",
                "way": link_to(finding, run.rules),
            }
            for finding in severe[:_MOST]
        ],
    }
