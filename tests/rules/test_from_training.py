"""Each rule from a real training through the recorder, the store and back: nothing on the way is made up here.

A rule's signal, or the coverage that it asks for, that is renamed on one side only makes its test fail.
"""

from contextlib import suppress

import pytest

from edgeglass_diag.process import StopTraining
from edgeglass_diag.provider_protocols import provider
from edgeglass_diag.rules import CATALOGUE
from edgeglass_diag.store import load
from edgeglass_diag.watching import Watch
from tests.helpers.faulty_trainings import TRAININGS
from tests.helpers.own_tests import codes_with_own_tests

FAULTS = {
    "EG002": "identical-units", "EG003": "head-outside-the-optimizer", "EG004": "head-frozen",
    "EG005": "detached-features", "EG006": "module-unused", "EG007": "fp16-underflow", "EG101": "decay-far-too-strong",
    "EG102": "decay-far-too-strong", "EG103": "attention-saturated", "EG104": "norms-missing",
    "EG105": "mask-inverted", "EG106": "rows-fully-masked", "EG201": "gradient-multiplied-to-nothing",
    "EG202": "decay-far-too-strong", "EG203": "schedule-overrun", "EG205": "group-with-rate-zero",
    "EG206": "rate-far-too-small", "EG207": "rate-explodes-later", "EG208": "clipping-far-too-low",
    "EG209": "decay-on-the-scale", "EG210": "decay-far-too-strong", "EG211": "zero-grad-missing",
    "EG212": "warmup-longer-than-the-run", "EG213": "schedule-ends-early", "EG217": "cleared-while-accumulating",
    "EG301": "batch-statistics-over-samples", "EG302": "plain-sgd-too-fast", "EG303": "one-side-not-normalised",
    "EG304": "norms-missing", "EG307": "positive-only", "EG401": "batch-statistics-over-samples",
    "EG402": "validation-loss-never-computed", "EG403": "double-softmax", "EG404": "batch-of-one",
    "EG405": "double-softmax",
    "EG406": "labels-all-zero", "EG407": "temperature-unclamped", "EG408": "rate-far-too-large",
    "EG411": "siglip-averaged", "EG412": "own-soft-targets", "EG501": "the-same-batch",
    "EG502": "duplicate-captions", "EG504": "images-divided-twice", "EG505": "texts-cut", "EG507": "empty-texts",
    "EG509": "images-with-nan", "EG601": "batch-statistics-over-samples", "EG602": "recall-in-percent",
    "EG603": "one-direction-twice", "EG604": "ties-counted-as-hits", "EG605": "frozen-encoder-in-train-mode",
    "EG606": "images-with-nan", "EG607": "constant-embeddings-evaluated", "EG701": "prefix-without-weight",
    "EG702": "normalised-before-slicing", "EG801": "logarithm-of-zero", "EG802": "fp16-underflow",
    "EG803": "steps-skipped-for-ever", "EG804": "updates-below-bfloat16", "EG806": "gradients-made-finite",
}  # fmt: skip
"""A fault of the bench for each rule; ``TRAININGS`` has those for which there is none."""

AT_A_CHECK = {"EG050", "EG051", "EG520", "EG521", "EG522"}
"""Rules that only a check before the first step asks: tests/check."""


def run_bench_fault(name, folder, rule):
    job = next(case for case in provider().cases() if case.name == name).job(0)
    header = {"settings": {**job.settings, "total_steps": job.prepare()}}
    with Watch(folder, rules=[rule], stop_on=(rule.code,), header=header) as watch:
        watch.result |= job.train(folder, watch.log)


LATE = {
    "EG101", "EG102", "EG203", "EG206", "EG207", "EG212", "EG213", "EG302", "EG307", "EG401", "EG402", "EG403", "EG406",
    "EG408", "EG601", "EG602", "EG603", "EG604",
    "EG606", "EG607", "EG701", "EG804",
}  # fmt: skip
"""Rules that speak late in their training: five seconds and more each, tried in make test-long."""


@pytest.mark.parametrize(
    "rule",
    [pytest.param(rule, marks=pytest.mark.long if rule.code in LATE else (), id=rule.code) for rule in CATALOGUE],
)
def test_a_training_with_the_fault_brings_the_finding(rule, tmp_path):
    if rule.code in AT_A_CHECK | codes_with_own_tests():
        pytest.skip("asked before the first step only, or tried in a file of its own")
    with suppress(StopTraining):
        if rule.code in TRAININGS:
            with Watch(tmp_path / "run", rules=[rule()], stop_on=(rule.code,)):
                TRAININGS[rule.code]()
        else:
            run_bench_fault(FAULTS[rule.code], tmp_path / "run", rule())
    with load(tmp_path / "run") as run:
        assert {finding.code for finding in run.findings} == {rule.code}
