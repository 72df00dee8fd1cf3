"""Where a finding was made and what was measured, in words: made here, where it is shown, and read by no program."""

from __future__ import annotations

from collections.abc import Sequence

from edgeglass_diag import site_paths
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Finding, RecordState, Severity
from edgeglass_diag.thinning import ThinnedSignal
from edgeglass_diag.verdict import none_found, say

WHOLE_MODEL = "whole model"


def count_text(number: int, record: RecordState) -> str:
    """Return the number of findings in words; none is only said of what was recorded.

    >>> count_text(0, RecordState(taken=400, recorded=30)), count_text(0, RecordState(taken=8, recorded=8))
    ('no findings in the 30 of 400 steps that were recorded', 'no findings')
    >>> count_text(2, RecordState(taken=400, recorded=30))
    '2 findings'
    """
    if number:
        return f"{number} findings"
    said = none_found(record.recorded, record.taken)
    return said[0].lower() + said[1:]


def thinned_text(thinned: Sequence[ThinnedSignal]) -> str:
    """Return which windows of a long run are left out and which are all there, in words; empty where none is left out.

    >>> from edgeglass_diag.signals.parameters import GRADIENT_NORM
    >>> from edgeglass_diag.thinning import ThinnedSignal
    >>> print(thinned_text([ThinnedSignal(GRADIENT_NORM, 1019, 6475, 2400, 960_160)]))
    old windows of 1 signal are left out: of gradient/norm 1019 of 6475 are kept, all up to step 2400 and from 960160 on
    """
    if not thinned:
        return ""
    least = min(thinned, key=lambda one: one.kept / one.recorded)
    until, since = min(one.whole_until for one in thinned), max(one.whole_since for one in thinned)
    number = f"{len(thinned)} signal{'s' if len(thinned) > 1 else ''}"
    return (
        f"old windows of {number} are left out: of {least.signal} {least.kept} of {least.recorded} are kept, all up to "
        f"step {until} and from {since} on"
    )


def sites_text(finding: Finding) -> str:
    """Return where a finding was made: one site by its path, several by their number and what they share.

    >>> made = dict(code="EG102", name="", severity=Severity.CRITICAL, step=0, message="")
    >>> sites_text(Finding(site="pool", **made)), sites_text(Finding(site="", **made))
    ('pool', 'whole model')
    >>> sites_text(Finding(site="a.0.attn", sites=("a.0.attn", "a.1.attn", "a.2.attn"), **made))
    '3 layers (a.*.attn)'
    >>> sites_text(Finding(site="head[:8]", sites=("head[:8]", "head[:16]"), **made))
    '2 sites (head)'
    """
    if len(finding.sites) < 2:
        return finding.site or WHOLE_MODEL
    shared = {site_paths.kin(site) for site in finding.sites}
    names = next(iter(shared))
    noun = "layers" if _are_layers(finding.sites) else "sites"
    return f"{len(finding.sites)} {noun}" + (f" ({'.'.join(names)})" if len(shared) == 1 else "")


def mark_text(finding: Finding) -> str:
    """Return what the replays of an explanation have shown of a finding; empty where the run was not explained.

    >>> from edgeglass_diag.records import Severity
    >>> made = dict(code="EG102", name="", severity=Severity.CRITICAL, site="", step=0, message="")
    >>> mark_text(Finding(mark=Mark.CONFIRMED, mark_by="learning rate x 0.1 cures (3/3)", **made))
    'confirmed by replays: learning rate x 0.1 cures (3/3)'
    >>> mark_text(Finding(mark=Mark.NOT_ASKED, **made)), mark_text(Finding(**made))
    ('not asked by any replay', '')
    >>> mark_text(Finding(mark=Mark.REFUTED, **made | dict(severity=Severity.INFO)))
    'not the cause by replays'
    """
    if finding.mark is None:
        return ""
    by = "by any replay" if finding.mark is Mark.NOT_ASKED else "by replays"
    is_true = finding.mark is Mark.REFUTED and finding.severity is Severity.INFO  # a fact stays one
    return f"{'not the cause' if is_true else finding.mark} {by}" + (f": {finding.mark_by}" if finding.mark_by else "")


def evidence_texts(finding: Finding) -> list[tuple[str, str]]:
    """Return name and value of what was measured, and since when and by which line of source, where that is known.

    Of an early verdict also until when it is one.

    >>> from edgeglass_diag.records import Severity
    >>> evidence_texts(Finding("EG102", "", Severity.CRITICAL, "", 9, "", {"num_outputs": 1.0001}, since=4))
    [('num outputs', '1'), ('since step', '4')]
    """
    typed = {
        "since step": finding.since,
        "learned since step": finding.learned_since,
        "may be early until step": finding.early_until,
        "place": finding.place,
    }
    shown = {**finding.evidence, **{name: value for name, value in typed.items() if value is not None}}
    return [(str(name).replace("_", " "), say(value)) for name, value in shown.items()]


def _are_layers(sites: Sequence[str]) -> bool:
    """Return whether the sites lie in layers of different numbers."""
    modules = {site_paths.first_call(site) for site in sites}
    return len(modules) == len(sites) and any("*" in site_paths.kin(site) for site in sites)
