"""Which fault brings which: one headline per cause, the rest nested under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgeglass_diag.records import Finding, Severity

INPUTS = ("EG509", "EG507", "EG105", "EG106", "EG107", "EG108", "EG109", "EG110", "EG504", "EG505")
"""Input and masks: what is wrong before the first weight."""
STEPS = (
    "EG801", "EG806", "EG227", "EG224", "EG802", "EG804", "EG214", "EG215", "EG211", "EG205", "EG208", "EG216",
    "EG206", "EG210", "EG202", "EG225",
)  # fmt: skip
"""Steps that do not reach the weights, or destroy them."""
OBJECTIVE = (
    "EG404", "EG405", "EG406", "EG412", "EG413", "EG403", "EG303", "EG407", "EG314", "EG315", "EG418", "EG419", "EG420",
    "EG320",
)  # fmt: skip
"""A loss that asks for something else than to tell pairs apart."""
REACH = ("EG003", "EG005", "EG004", "EG007", "EG002")
"""Weights that training does not reach."""
DIVERGENCE = ("EG204", "EG207")
"""What was learned is lost."""

LATENCY = 20
"""Steps that the rules about lasting states wait before they speak; the order within is no evidence."""


def nest(findings: Iterable[Finding], brought_by: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    """Return the findings, each with ``because_of`` set to the most direct cause that was there before it was found.

    A cause is there from its onset on, less ``LATENCY``. A mere fact (info), as what the model has overcome since, is
    the cause of other facts only.

    Args:
        findings: all that were made.
        brought_by: for each code the codes that can bring it, the most direct first.
    """
    present = list(findings)
    first: dict[str, int] = {}
    facts = {finding.code for finding in present} - {f.code for f in present if f.severity != Severity.INFO}
    for finding in present:
        first[finding.code] = min(finding.onset, first.get(finding.code, finding.step))
    nested = []
    for finding in present:
        possible = [code for code in brought_by.get(finding.code, ()) if code in first]
        causes = [code for code in possible if _before(code, finding, first, brought_by)]
        if finding.severity != Severity.INFO:
            causes = [code for code in causes if code not in facts]
        nested.append(replace(finding, because_of=causes[0] if causes else None))
    return nested


def nest_below(
    findings: Iterable[Finding], causes: Iterable[Finding], brought_by: Mapping[str, tuple[str, ...]]
) -> list[Finding]:
    """Return what single ranks have found, those without a cause below what all ranks together show.

    Args:
        findings: of single ranks, nested among themselves.
        causes: of the rules across ranks.
        brought_by: for each code the codes that can bring it, the most direct first.
    """
    own, across = list(findings), list(causes)
    known = {cause.code for cause in across}
    possible = {code: tuple(c for c in codes if c in known) for code, codes in brought_by.items()}
    nested = nest([*own, *across], possible)[: len(own)] if known else own
    return [new if old.because_of is None else old for old, new in zip(own, nested, strict=True)]


def _before(cause: str, finding: Finding, first: Mapping[str, int], brought_by: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether the cause came first; of two faults that can bring each other the earlier is the cause."""
    if finding.code in brought_by.get(cause, ()):
        return first[cause] < first[finding.code]
    return first[cause] <= finding.step + LATENCY
