"""The rules as they judged a run are kept in it, and what draws a bound takes it from there."""

from dataclasses import asdict

from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.records import Bounds, ConfiguredRule
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY, ATTENTION_LOGIT_MAX
from edgeglass_diag.signals.parameters import UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.store import RunWriter, load

RULES = [
    ConfiguredRule(
        "EG101", "uniform", "Attention stays uniform", {"entropy": 0.9}, "attention", (ATTENTION_ENTROPY,),
        {ATTENTION_ENTROPY: Bounds(high=0.9)},
    ),
    ConfiguredRule(
        "EG202", "update-too-large", "Learning rate too high", {"ratio": 0.5}, "gradients", (UPDATE_RATIO,),
        {UPDATE_RATIO: Bounds(high=0.5)},
    ),
]  # fmt: skip


def test_the_rules_of_a_run_come_back(tmp_path):
    writer = RunWriter(tmp_path / "run", name="r", header={"rules": [asdict(rule) for rule in RULES]})
    writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        assert run.rules == {rule.code: rule for rule in RULES}


def test_bounds_are_those_of_the_rules_and_elsewhere_the_published_ones():
    rules = {rule.code: rule for rule in RULES}
    entropy, update, logits, weight = (
        scale_of(signal, rules) for signal in (ATTENTION_ENTROPY, UPDATE_RATIO, ATTENTION_LOGIT_MAX, WEIGHT_NORM)
    )
    assert (entropy.low, entropy.high) == (None, 0.9)
    assert entropy.bounds.startswith("above 0.9 attention is uniform")
    assert entropy.bounds.endswith("(EG101)")
    assert (update.low, update.high) == (1e-4, 0.5)
    assert update.bounds == (
        "usual near 1e-3; healthy from 0.0001 to 0.5 (EG202; TheDeepChecker, https://arxiv.org/abs/2204.00694)"
    )
    assert (logits.low, logits.high) == (None, 1e4)
    assert not weight.is_bounded
    assert weight.bounds == "no bound is known"
    assert scale_of(ATTENTION_ENTROPY, {}).bounds == "no bound is known"
