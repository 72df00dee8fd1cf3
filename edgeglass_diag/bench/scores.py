"""Score the findings on a case, and sum up the scores of a bench."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from edgeglass_diag.plain_values import finding_summary
from edgeglass_diag.provider_protocols import Case
from edgeglass_diag.records import Finding, Severity


def verdict(case: Case, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return whether the findings detect a case, name it and locate it.

    Found: any warning or critical. Named: an accepted code is a headline, that is, follows from no other. Located: one
    of such a headline's sites begins with one of the places, or there is no place but the setting that the code names.
    """
    loud = [f for f in findings if f.severity.rank >= Severity.WARNING.rank]
    codes = {f.code for f in loud}
    headlines = [f for f in loud if f.because_of not in codes]
    named = [f for f in headlines if f.code in case.expected]
    located = [f for f in named if not case.places or any(s.startswith(case.places) for s in (f.site, *f.sites))]
    first = min((f.step for f in named or loud), default=None)
    return {
        "fault": case.name, "healthy": not case.expected, "expected": list(case.expected), "places": list(case.places),
        "found": bool(loud), "named": bool(named), "located": bool(located), "step": first,
        "delay": None if first is None else max(0, first - case.acts),
        "findings": [finding_summary(f) for f in findings],
    }  # fmt: skip


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts over all runs.

    Withdrawn: healthy runs with a verdict that nothing is learned, which was withdrawn once the model had learned.
    """
    ill = [row for row in rows if not row["healthy"]]
    well = [row for row in rows if row["healthy"]]
    delays = sorted(row["delay"] for row in ill if row["delay"] is not None)
    count = {key: sum(row[key] for row in ill) for key in ("found", "named", "located")}
    loud = {level: sum(any(f["severity"] == level for f in row["findings"]) for row in well)
            for level in ("critical", "warning")}  # fmt: skip
    withdrawn = sum(any(f["learned_since"] is not None for f in row["findings"]) for row in well)
    p90 = delays[min(len(delays) - 1, int(0.9 * len(delays)))] if delays else None
    return {
        "faults": {"total": len(ill), **count},
        "delay_steps": {"median": median(delays) if delays else None, "p90": p90},
        "healthy": {
            "runs": len(well),
            "false_critical": loud["critical"],
            "false_warning": loud["warning"],
            "withdrawn": withdrawn,
        },
        "cases": [{key: value for key, value in row.items() if key != "stamp"} for row in rows],
    }
