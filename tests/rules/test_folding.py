"""Verdicts that differ only in their layer, call or prefix are one finding."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgeglass_diag.records import Severity
from edgeglass_diag.rules import CATALOGUE, Engine, Rule
from tests.helpers.pieces import STUCK, always
from tests.helpers.windows import judge, learning, window

LAYERS = [f"blocks.{layer}.attention" for layer in range(4)]


@dataclass(frozen=True)
class Scripted(Rule):
    """Speaks as it is given."""

    code, name, title, severity, source, fix = "XX001", "scripted", "Scripted", Severity.WARNING, "a test", "nothing"
    verdicts = ()

    def check(self, history):
        for step, site, severity, since in self.verdicts:
            if history.last_step >= step:
                yield self.finding(history, site, site=site, severity=severity, since=since, evidence={})


def spoken(*verdicts, steps=6):
    """The engine, and what each window brought."""
    engine = Engine([type("Speaks", (Scripted,), {"verdicts": verdicts})()])
    news = [engine.feed(window(step, {})) for step in range(steps)]
    assert engine.failures == {}
    return engine, news


def test_layers_are_one_finding_with_the_first_as_its_site():
    _, engine = judge(learning(**{f"{site}|attention/logit_max": always([2e4, 3e4]) for site in LAYERS}))
    (finding,) = engine.findings
    assert (finding.code, finding.site, finding.sites) == ("EG104", LAYERS[0], tuple(LAYERS))
    assert LAYERS[0] in finding.message


def test_towers_and_directions_are_findings_of_their_own():
    sites = ["visual.blocks.0.attention", "textual.blocks.0.attention"]
    _, engine = judge(learning(**{f"{site}|attention/logit_max": always([2e4]) for site in sites}))
    assert [finding.sites for finding in engine.findings] == [(site,) for site in sites]


def test_calls_are_one_finding_and_pairs_with_other_sides_are_not():
    calls = ["attn.attention", "attn#1.attention"]
    pairs = ["image[:64] x text[:64]", "image[:32] x text[:32]", "image[:64] x sound[:64]"]
    engine, _ = spoken(*((1, site, Severity.WARNING, None) for site in calls + pairs))
    assert [finding.sites for finding in engine.findings] == [tuple(calls), tuple(pairs[:2]), (pairs[2],)]


def test_the_worst_layer_gives_severity_and_message_and_is_looked_at_first():
    engine, _ = spoken(
        (1, "blocks.0", Severity.INFO, None),
        (2, "blocks.1", Severity.WARNING, 1),
        (4, "blocks.2", Severity.CRITICAL, 3),
    )
    (finding,) = engine.findings
    assert (finding.site, finding.sites) == ("blocks.0", ("blocks.0", "blocks.1", "blocks.2"))
    assert (finding.severity, finding.message, finding.focus) == (Severity.CRITICAL, "Scripted: blocks.2", "blocks.2")
    assert (finding.step, finding.since) == (2, 1)


def test_a_further_layer_is_no_news_and_a_worse_one_is():
    _, news = spoken((1, "blocks.0", Severity.WARNING, None), (2, "blocks.1", Severity.WARNING, None),
                     (4, "blocks.2", Severity.CRITICAL, None))  # fmt: skip
    assert [[finding.severity for finding in fresh] for fresh in news] == [
        [], [Severity.WARNING], [], [], [Severity.CRITICAL], [],
    ]  # fmt: skip


@pytest.mark.parametrize("site", ["", "head"])
def test_a_single_site_is_all_sites(site):
    engine, _ = spoken((0, site, Severity.WARNING, None))
    assert engine.findings[0].sites == (site,)


def test_layers_follow_from_what_came_before_them():
    alike = {
        f"{site}|attention/entropy": always([0.999]) for site in LAYERS
    } | {f"{site}|attention/logit_std": always([0.01]) for site in LAYERS}  # fmt: skip
    run = {**STUCK, **alike, "w|update/ratio": always(0.3), "cross_entropy|loss/accuracy": always(1 / 128)}
    found, engine = judge(learning(**run))
    layers = next(f for f in engine.findings if f.code == "EG101" and f.site == LAYERS[0])
    assert len(layers.sites) == 4
    assert layers.because_of == "EG202"
    assert found["EG202"].because_of is None


def test_every_site_of_a_finding_is_named_once():
    _, engine = judge(learning(**{f"{site}|attention/logit_max": always([2e4, 3e4]) for site in LAYERS}))
    for finding in engine.findings:
        assert finding.site == finding.sites[0]
        assert len(set(finding.sites)) == len(finding.sites)
    assert {finding.code for finding in engine.findings} <= {rule.code for rule in CATALOGUE}
