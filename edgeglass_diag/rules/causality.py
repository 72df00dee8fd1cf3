"""Which fault brings which: one headline per cause, the rest nested under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgeglass_diag.records import Finding, Severity

_FED = ("EG509", "EG507", "EG105", "EG106", "EG107", "EG504", "EG505")
"""Input and masks: what is wrong before the first weight."""
_STEPS = (
    "EG801", "EG806", "EG802", "EG804", "EG214", "EG215", "EG211", "EG205", "EG208", "EG216", "EG206", "EG210", "EG202"
)  # fmt: skip
"""Steps that do not reach the weights, or destroy them."""
_ASKED = ("EG404", "EG405", "EG406", "EG412", "EG413", "EG403", "EG303", "EG407")
"""A loss that asks for something else than to tell pairs apart."""
_REACHED = ("EG003", "EG005", "EG004", "EG007", "EG002")
"""Weights that training does not reach."""
_LOST = ("EG204", "EG207")

BROUGHT_BY: dict[str, tuple[str, ...]] = {
    "EG005": ("EG214",),
    "EG006": ("EG214",),
    "EG007": ("EG806", "EG802", "EG103", "EG002"),
    "EG101": ("EG301", *_FED, *_ASKED, *_STEPS, "EG503", *_REACHED),
    "EG102": ("EG002", "EG301", *_ASKED, *_STEPS),
    "EG103": ("EG104", "EG204", "EG202"),
    "EG104": ("EG207", "EG204", "EG202", "EG504"),
    "EG201": ("EG103", "EG002", "EG301", *_LOST, "EG202"),
    "EG202": ("EG211",),
    "EG204": ("EG801", "EG407", "EG303", "EG211", "EG202"),
    "EG205": ("EG801",),
    "EG206": ("EG214", "EG802", "EG804", *_FED, "EG301", "EG208", "EG411", "EG413", "EG201", "EG103", "EG212", "EG405"),
    "EG207": ("EG801", "EG204", "EG211", "EG202", "EG104"),
    "EG301": ("EG801", "EG802", *_FED, "EG002", "EG207", "EG204", "EG210", "EG202", "EG104", "EG303", "EG413"),
    "EG302": ("EG301", "EG802", *_FED, "EG002", "EG207", "EG204", "EG210", "EG202"),
    "EG307": ("EG801", *_FED, "EG202"),
    "EG401": ("EG801", "EG301", *_FED, *_ASKED, "EG302", *_LOST, *_STEPS, "EG503", *_REACHED),
    "EG403": ("EG702",),
    "EG408": ("EG209", "EG301", "EG503", *_ASKED, *_LOST, *_STEPS),
    "EG502": ("EG507",),
    "EG503": ("EG301", *_FED, *_ASKED, *_LOST, *_STEPS),
    "EG601": ("EG301", "EG503", "EG401", *_LOST),
    "EG606": ("EG801", *_FED),
    "EG607": ("EG410", "EG406", "EG501"),
    "EG801": (*_FED, "EG407", "EG303", "EG104", "EG204", "EG202"),
    "EG803": ("EG509",),
    "EG806": _FED,
}
"""For each code the codes that can bring it, the most direct first."""

LATENCY = 20
"""Steps that the rules about lasting states wait before they speak; the order within is no evidence."""


def nest(findings: Iterable[Finding]) -> list[Finding]:
    """Set ``because_of`` of each finding to the most direct cause that was there before it was found.

    A cause is there since the step that its evidence names, else since it was found, less ``LATENCY``. A mere fact
    (info), as what the model has overcome since, is the cause of other facts only.
    """
    present = list(findings)
    first: dict[str, int] = {}
    facts = {finding.code for finding in present} - {f.code for f in present if f.severity != Severity.INFO}
    for finding in present:
        first[finding.code] = min(_onset(finding), first.get(finding.code, finding.step))
    nested = []
    for finding in present:
        possible = [c for c in BROUGHT_BY.get(finding.code, ()) if c in first]
        causes = [c for c in possible if _before(c, finding, first)]
        if finding.severity != Severity.INFO:
            causes = [c for c in causes if c not in facts]
        nested.append(replace(finding, because_of=causes[0] if causes else None))
    return nested


def _before(cause: str, finding: Finding, first: Mapping[str, int]) -> bool:
    """Of two faults that can bring each other the earlier is the cause."""
    if finding.code in BROUGHT_BY.get(cause, ()):
        return first[cause] < first[finding.code]
    return first[cause] <= finding.step + LATENCY


def _onset(finding: Finding) -> int:
    since = finding.evidence.get("since")
    return min(since, finding.step) if isinstance(since, int) else finding.step
