"""Each rule names the changes from outside that would refute it, or there is a reason why it has none."""

import pytest

from edgeglass_diag.intervention import Site
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules import find_rule
from edgeglass_diag.rules.base import Stage
from edgeglass_diag.rules.catalogue import own_rules
from edgeglass_diag.rules.document import rule_page

WITHOUT = {
    "EG108": "a causal mask that is turned round leaves the last position with no key",
    "EG214": "what the program has cleared before the step is gone",
    "EG215": "what writes the weights after the step lies in the program",
    "EG219": "targets are data",
    "EG242": "the checkpoint that was not loaded is nowhere in the program",
    "EG313": "a second view, or a teacher of its own, is nowhere in the program",
    "EG314": "which of the pairings is right lies in the data; the diagonal of a batch with itself is trivial",
    "EG315": "no change takes candidates away",
    "EG402": "what is logged is computed outside of the training",
    "EG404": "no change adds candidates",
    "EG410": "the loss falls as it is: no replay tells by its loss that the geometry is wrong",
    "EG413": "labels of -1 would have to be made",
    "EG415": "no change takes a logarithm before a loss",
    "EG416": "what a loss is given lies in the program",
    "EG418": "no change turns the sign of a loss",
    "EG419": "labels are data",
    "EG420": "shapes lie in the program",
    "EG507": "inputs are data",
    "EG509": "inputs are data",
    "EG601": "its causes are findings of their own; a replay is not judged by recalls",
    "EG602": "recalls are computed outside of the training",
    "EG604": "recalls are computed outside of the training",
    "EG607": "recalls are computed outside of the training",
}
"""Critical faults of a run that no change from outside cures, with the reason."""

CURES = [(rule, cure) for rule in own_rules() for cure in rule.cures]


def found(code, *, site="", focus="", since=None):
    rule = find_rule(code)
    return Finding(code, rule.name, rule.severity, site, 100, rule.title, {}, rule.fix, since=since, focus=focus)


def nominated(code, **where):
    return [cure.label for cure in find_rule(code).nominated(found(code, **where))]


@pytest.mark.parametrize(("rule", "cure"), CURES, ids=[f"{rule.code}-{cure.label}" for rule, cure in CURES])
def test_a_cure_is_a_change_that_can_be_made(rule, cure):
    placed = cure.of_finding("tower.proj")
    assert placed.checked() == placed
    assert placed.site in ("", "tower.proj"), "a rule knows no other places than that of its finding"
    assert rule.severity is not Severity.INFO
    assert Stage.RUN in rule.stages, "a replay is a run: what is found before one, or in logs alone, is not asked there"


def test_a_rule_has_few_cures_and_none_twice():
    for rule in own_rules():
        assert len(set(rule.cures)) == len(rule.cures) <= 4, rule.code


def test_a_critical_fault_has_a_cure_or_a_reason():
    critical = {rule.code for rule in own_rules() if rule.severity is Severity.CRITICAL and Stage.RUN in rule.stages}
    assert {code for code in critical if not find_rule(code).cures} == set(WITHOUT)


def test_what_is_done_at_one_place_needs_one():
    for rule in own_rules():
        bare = rule.nominated(found(rule.code))
        assert all(cure.checked() for cure in bare)
        assert len(bare) == sum(cure.kind.site is not Site.NEEDED for cure in rule.cures)


@pytest.mark.parametrize(
    ("code", "where", "expected"),
    [
        ("EG002", {"site": "latents"}, ["initial.rows on latents", "initial.rows=0.02 on latents"]),
        ("EG003", {"site": "image.proj"}, ["optimizer.include on image.proj", "optimizer.include"]),
        ("EG005", {"site": "head.weight", "focus": "head"}, ["gradient.kept on head", "gradient.kept"]),
        ("EG015", {"site": "norm#2"}, ["module.norm_before on norm"]),
        ("EG101", {"site": "blocks.0.attn.attention"}, ["module.norm_before on blocks.0.attn"]),
        ("EG103", {"site": "pool#1.attention#2", "focus": ""}, ["module.norm_before on pool"]),
        ("EG103", {"site": "attention"}, []),
        (
            "EG105",
            {"site": "text.attention#1"},
            ["attention.mask_inverted", "attention.mask_inverted on text.attention#1"],
        ),
        (
            "EG202",
            {"focus": "head.weight"},
            ["optimizer.lr=0.1", "optimizer.lr=0.01", "optimizer.lr=0.001", "optimizer.warmup=20"],
        ),
        ("EG405", {"site": "cross_entropy"}, ["loss.no_softmax"]),
        ("EG509", {"site": "images"}, []),
    ],
)
def test_cures_are_placed_where_the_finding_says(code, where, expected):
    assert nominated(code, **where) == expected


def test_a_side_that_was_constant_before_the_first_step_is_no_matter_of_the_rate_first():
    norm = "module.norm_before on image.pool"
    assert nominated("EG301", site="image", focus="image.pool", since=0)[0] == norm
    assert nominated("EG301", site="image", focus="image.pool", since=8)[0] == "optimizer.lr=0.1"
    assert nominated("EG301", site="image", focus="image.pool", since=8)[-1] == norm


def test_the_page_of_a_rule_says_what_explain_tries():
    rule = find_rule("EG202")
    assert "explain tries: learning rate x 0.1, learning rate x 0.01, learning rate x 0.001, " in rule_page(rule)
    assert "explain tries: LayerNorm put before the place found" in rule_page(find_rule("EG101"))
    assert "explain tries" not in rule_page(find_rule("EG509"))
