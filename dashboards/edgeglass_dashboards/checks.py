"""What stands in the place of findings where there are none: what was looked at, and how it was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dash import html

from edgeglass_dashboards.findings_view import icon
from edgeglass_dashboards.pages.heat import summary_words
from edgeglass_dashboards.pages.signal import keeps_the_sample, profile_words
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.of_run import profile_at, read_newest
from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.headline import Headline
from edgeglass_diag.records import Finding, RunStatus
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import none_found

_SIGNALS = ((ATTENTION_ENTROPY, "attention"), (GRADIENT_NORM, "gradients"))


def checks(run: Run, said: Headline, loss: str, findings: Sequence[Finding]) -> Any:
    """The list of what was looked at; each line leads to its page.

    Args:
        run: the run.
        said: its verdict.
        loss: the loss against chance, in words.
        findings: of the run.
    """
    lines = list(_lines(run, said, loss, findings))
    items = [
        html.Li([icon("good" if fine else "neutral"), html.A(words, href=View(page=page).link())])
        for fine, words, page in lines
    ]
    return html.Ul(items, className="checks")


def _lines(run: Run, said: Headline, loss: str, findings: Sequence[Finding]) -> Iterator[tuple[bool, str, str]]:
    record = run.record
    none = none_found(record.recorded, record.taken, so_far=run.status == RunStatus.RUNNING)
    if not findings:
        count = len(run.rules)
        judged = f"{count} rule{'s judge' if count != 1 else ' judges'}" if count else "no rule judges"
        words = f"{none}; {judged} each recorded step."
        yield said.tone not in ("warning", "critical") and bool(record.recorded and count), words, "coverage"
    yield said.tone == "good", f"{loss[0].upper()}{loss[1:]}.", "retrieval"
    step, stages = profile_at(run, None)
    if stages:
        yield keeps_the_sample(stages), profile_words(step, stages), "signal"
    for signal, page in _SIGNALS:
        scale = scale_of(signal, run.rules)
        matrix = read_newest(run, signal, component=scale.component)
        if matrix is not None:
            fine, words = summary_words(matrix, scale)
            yield fine, words, page
    sites = run.sites
    if sites:
        seen = sum(site.is_observed for site in sites)
        yield seen == len(sites), f"{seen} of {len(sites)} places of the model were observed.", "coverage"
